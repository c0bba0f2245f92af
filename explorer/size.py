"""The page "Size a model": a shape, a format and a device in; parameters, bytes and speed out, at once."""

from __future__ import annotations

import streamlit as st

from explorer.panels import show_breakdowns, show_details, show_headline
from explorer.size_inputs import draw_inputs, take_first_values
from explorer.size_state import chosen_architecture, estimate_inputs, query_of, start_of
from reports.wording import count_text, shape_text
from sizer.errors import SizerError
from sizer.estimate import Estimate, estimate
from sizer.shape_code import shape_code


def page() -> None:
    """Draw the page."""
    take_first_values()
    values = st.session_state
    with st.sidebar:
        draw_inputs()
    st.header("Size a model")
    try:
        start = start_of(values)
        st.session_state["start_code"] = shape_code(start)
        sized = estimate(architecture=chosen_architecture(start, values), **estimate_inputs(values))
    except SizerError as error:
        st.error(str(error))
    else:
        _show(sized)
    st.query_params.from_dict(query_of(values))


def _show(sized: Estimate) -> None:
    a = sized.architecture
    st.caption(f"{a.name}: {shape_text(a)}, {count_text(sized.parameters.total)} parameters, {sized.runtime}")
    show_headline(sized)
    show_breakdowns(sized, "size")
    show_details(sized)


page()
