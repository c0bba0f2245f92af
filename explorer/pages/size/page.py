"""The page "Size a model": parameters, bytes, memory and speed of a shape in a format on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from explorer.pages.size.inputs import START_CODE, draw_inputs, load
from explorer.pages.size.onward import show_verdict, show_ways_onward
from explorer.pages.size.state import STATE, request_of
from explorer.pages.size.views import show_stacks, show_views
from explorer.widgets.estimate_widgets import show_breakdowns, show_headline
from explorer.widgets.model_source import start_of
from explorer.widgets.size_link import FROM_FILE, SHAPE, START
from reports.text.wording import count_text, escape_markdown, shape_text
from sizer.errors import SizerError
from sizer.shape_code import shape_code

if TYPE_CHECKING:
    from explorer.state import Values


def page() -> None:
    """Draw the page."""
    load()
    # the sidebar last: its controls have their values before they are drawn, so that figures need not wait
    values = STATE.values()
    _show(values)
    with st.sidebar:
        draw_inputs()
    STATE.save()


def _show(values: Values) -> None:
    """Draw the figures of the controls' values."""
    st.header("Size a model")
    if values[START.key] == FROM_FILE and not values[SHAPE.key]:
        st.info(
            "Paste a config.json at the left, or upload one or a GGUF file: it is read here and not kept. "
            "Every family that the command line can size is shown."
        )
    else:
        try:
            sized = request_of(values).run().estimate
        except SizerError as error:
            st.error(escape_markdown(str(error)))
        else:
            st.session_state[START_CODE] = shape_code(start_of(values))
            a = sized.architecture
            st.caption(
                f"{escape_markdown(a.name)}: {shape_text(a)}, {count_text(sized.parameters.total)} "
                f"parameters, {sized.runtime}"
            )
            show_headline(sized)
            show_verdict(sized, values)
            show_breakdowns(sized, "size")
            if sized.weights is not None:
                show_stacks(sized)
            show_views(sized, values)
            show_ways_onward(sized, values)


page()
