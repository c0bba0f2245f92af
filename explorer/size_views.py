"""What the size page shows below the headline: where time and memory go, curves, small changes, copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from explorer.copy_as import as_command, as_python
from explorer.panels import show_assumptions, show_figures
from explorer.tables import table_html
from reports.bars import BARS_STYLE, stack_html
from reports.curve_html import CURVE_STYLE, curve_html
from reports.curves import context_curves, format_curves
from reports.estimate_text import change_rows
from reports.stacks import memory_stack_info, step_stack_info
from reports.wording import binds_texts, plain
from sizer.advice import alignment_advice, sensitivities
from sizer.curves import over_context, over_formats
from sizer.step_time import at_full_context, prompt_binds, step_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamlit.delta_generator import DeltaGenerator

    from explorer.size_state import Values
    from reports.curves import Curve
    from reports.stacks import StackInfo
    from sizer.estimate import Estimate

FIGURES, CHANGES, CONTEXT, FORMATS, ASSUMPTIONS, COPY = (
    "All figures",
    "Small changes",
    "Context",
    "Formats",
    "Assumptions",
    "Link and code",
)
VIEW = "view"


def show_stacks(sized: Estimate) -> None:
    """Memory against what the device gives, and what a decoding step's time goes into."""
    left, right = st.columns(2)
    _show_stack(left, memory_stack_info(sized), "memory-stack")
    now = step_time(sized)
    if now is None:
        right.info("Choose a device whose speed is known to see what a decoding step's time goes into.")
        return
    full = at_full_context(sized)
    _show_stack(right, step_stack_info(now, full, sized.workload.context_tokens), "step-stack")
    texts = binds_texts(now, full, sized.workload.context_tokens, prompt_binds(sized))
    st.markdown(" ".join(texts))


def _show_stack(place: DeltaGenerator, info: StackInfo, name: str) -> None:
    place.html(f"<style>{BARS_STYLE}</style>{stack_html(info, name)}")


def show_views(sized: Estimate, values: Values) -> None:
    """The views one can turn to; only the one that is open is computed."""
    views = st.tabs([FIGURES, CHANGES, CONTEXT, FORMATS, ASSUMPTIONS, COPY], key=VIEW, on_change="rerun")
    figures, changes, context, formats, assumptions, copy = views
    if figures.open:
        with figures:
            show_figures(sized)
    elif changes.open:
        with changes:
            _show_changes(sized)
    elif context.open:
        with context:
            _show_curves(context_curves(over_context(sized), sized), "context-curve")
    elif formats.open:
        with formats:
            _show_curves(format_curves(over_formats(sized), sized), "format-curve")
    elif assumptions.open:
        with assumptions:
            show_assumptions(sized)
    elif copy.open:
        with copy:
            _show_copies(sized, values)


def _show_changes(sized: Estimate) -> None:
    header, *rows = change_rows(sensitivities(sized))
    st.html(table_html(header, rows))
    advice = alignment_advice(sized)
    if advice:
        st.markdown("\n".join(f"- {plain(text)}" for text in advice))
    else:
        st.caption("No width wastes bits: this format stores every row in its own blocks.")


def _show_curves(curves: Iterable[Curve], name: str) -> None:
    columns = st.columns(2)
    for place, curve in enumerate(curves):
        columns[place].html(f"<style>{CURVE_STYLE}</style>{curve_html(curve, f'{name}-{place}')}")


def _show_copies(sized: Estimate, values: Values) -> None:
    st.markdown("The page's address holds all of this: copy it from the browser to share it.")
    st.markdown("**Command line**")
    st.code(as_command(sized, values), language="bash", wrap_lines=True)
    st.markdown("**Python**")
    st.code(as_python(sized), language="python")
