"""Views of the size page below the headline: memory and time by part, curves, sensitivity, copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from explorer.pages.size.copy_as import as_command, as_python
from explorer.widgets.estimate_widgets import show_assumptions, show_figures
from explorer.widgets.export import show_shape_export
from explorer.widgets.html import show_side_by_side, show_table
from reports.figures.line_charts import context_curves, format_curves
from reports.figures.stacked_bars import memory_stack_info, step_stack_info
from reports.html.bars import stack_html
from reports.html.line_chart import curve_html
from reports.text.optional_sections import change_rows
from reports.text.wording import binds_texts, escape_markdown
from sizer.advice import alignment_advice, sensitivities
from sizer.devices.step_time import at_full_context, prompt_binds, step_time
from sizer.sweeps import over_context, over_formats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from explorer.state import Values
    from reports.figures.line_charts import LineChart
    from sizer.model_estimate import Estimate

FIGURES, SENSITIVITY, CONTEXT, FORMATS, ASSUMPTIONS, COPY = (
    "All figures",
    "Sensitivity",
    "Context",
    "Formats",
    "Assumptions",
    "Link and code",
)
VIEW = "view"


def show_stacks(sized: Estimate) -> None:
    """Draw memory against the device's limit, and the parts of a decoding step's time."""
    parts = [stack_html(memory_stack_info(sized), "memory-stack")]
    now, full = step_time(sized), at_full_context(sized)
    if now is not None:
        parts.append(stack_html(step_stack_info(now, full, sized.workload), "step-stack"))
    show_side_by_side(parts, least_px=380)
    if now is not None:
        texts = binds_texts(now, full, sized.workload.context_tokens, prompt_binds(sized))
        st.markdown(" ".join(texts))
    elif sized.device is None:
        st.caption("Choose a device to see its speed and the parts of a decoding step's time.")


def show_views(sized: Estimate, values: Values) -> None:
    """Draw the tabs; only the open one is computed."""
    if sized.weights is None:
        show_figures(sized)
        show_assumptions(sized)
        return
    views = st.tabs([FIGURES, SENSITIVITY, CONTEXT, FORMATS, ASSUMPTIONS, COPY], key=VIEW, on_change="rerun")
    figures, sensitivity, context, formats, assumptions, copy = views
    if figures.open:
        with figures:
            show_figures(sized)
    elif sensitivity.open:
        with sensitivity:
            _show_sensitivity(sized)
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


def _show_sensitivity(sized: Estimate) -> None:
    header, *rows = change_rows(sensitivities(sized))
    show_table(header, rows)
    advice = alignment_advice(sized)
    if advice:
        st.markdown("\n".join(f"- {escape_markdown(text)}" for text in advice))
    else:
        st.caption("No size wastes bits: this format stores every row in its own blocks.")


def _show_curves(curves: Iterable[LineChart], name: str) -> None:
    parts = [curve_html(curve, f"{name}-{place}") for place, curve in enumerate(curves)]
    show_side_by_side(parts, least_px=380)


def _show_copies(sized: Estimate, values: Values) -> None:
    st.markdown("The page's address holds all settings: copy it from the browser to share them.")
    st.markdown("**Command line**")
    st.code(as_command(values), language="bash", wrap_lines=True)
    st.markdown("**Python**")
    st.code(as_python(sized), language="python")
    st.markdown("**Files**")
    show_shape_export(sized.architecture, key="size_export")
