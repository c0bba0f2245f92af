"""The page "Size a model": a shape, a format and a device in; parameters, bytes and speed out, at once."""

from __future__ import annotations

import streamlit as st

from explorer.panels import show_breakdowns, show_headline
from explorer.size_controls import FROM_FILE, SHAPE, START
from explorer.size_inputs import START_CODE, draw_inputs, take_first_values
from explorer.size_state import chosen_architecture, estimate_inputs, query_of, start_of
from explorer.size_views import show_stacks, show_views
from reports.wording import count_text, plain, shape_text
from sizer.errors import SizerError
from sizer.estimate import estimate
from sizer.shape_code import shape_code


def page() -> None:
    """Draw the page."""
    take_first_values()
    with st.sidebar:
        draw_inputs()
    st.header("Size a model")
    values = st.session_state.to_dict()
    if values[START.key] == FROM_FILE and not values[SHAPE.key]:
        st.info(
            "Paste a config.json at the left, or upload one or a GGUF file: it is read here and not kept. "
            "Every family that the command line can size is shown."
        )
    else:
        try:
            start = start_of(values)
            sized = estimate(architecture=chosen_architecture(start, values), **estimate_inputs(values))
        except SizerError as error:
            st.error(plain(str(error)))
        else:
            st.session_state[START_CODE] = shape_code(start)
            a = sized.architecture
            st.caption(
                f"{plain(a.name)}: {shape_text(a)}, {count_text(sized.parameters.total)} parameters, "
                f"{sized.runtime}"
            )
            show_headline(sized)
            show_breakdowns(sized, "size")
            show_stacks(sized)
            show_views(sized, values)
    st.query_params.from_dict(query_of(values))


page()
