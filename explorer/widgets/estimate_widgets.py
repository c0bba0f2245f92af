"""Parts of an estimate on a page: headline figures, breakdowns, the full table, assumptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from explorer.widgets.html import show_side_by_side, show_tables, show_tiles
from reports.figures.breakdowns import known_breakdowns
from reports.html.bars import breakdown_html
from reports.html.tables import table_html
from reports.html.tiles import headline_tiles
from reports.text.estimate import estimate_sections
from reports.text.section import Section
from reports.text.wording import escape_markdown

if TYPE_CHECKING:
    from sizer.model_estimate import Estimate


def show_headline(estimate: Estimate) -> None:
    """Draw parameters, file, memory, speed and energy as tiles, each with its range or remark."""
    show_tiles(headline_tiles(estimate))


def show_breakdowns(estimate: Estimate, key: str) -> None:
    """Draw parameters, file bytes and memory by part, side by side; `key` starts the figures' names."""
    parts = [breakdown_html(info, f"{key}-{name}") for name, info in known_breakdowns(estimate).items()]
    show_side_by_side(parts, least_px=270)


def show_details(estimate: Estimate) -> None:
    """Draw every figure as a table in sections, and the assumptions."""
    figures, assumptions = st.tabs(["All figures", "Assumptions"])
    with figures:
        show_figures(estimate)
    with assumptions:
        show_assumptions(estimate)


def show_figures(estimate: Estimate) -> None:
    """Draw every figure as a table in sections."""
    show_tables([_section_html(section) for section in estimate_sections(estimate)])


def show_assumptions(estimate: Estimate) -> None:
    """Draw the assumptions of the figures."""
    st.markdown("\n".join(f"- {escape_markdown(note)}" for note in estimate.assumptions))


def _section_html(section: Section) -> str:
    remark = "\N{NO-BREAK SPACE}"  # a column without a heading
    return table_html(
        (section.title, section.unit, remark),
        [(row.label, row.value, row.remark) for row in section.rows],
        text_columns=(section.title,),
        wide_columns=(remark,),
        bold_rows=[place for place, row in enumerate(section.rows) if row.label == "total"],
    )
