"""Decisions of a study on a page: which choices its runs settle, at what probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from explorer.widgets.html import show_table
from reports.text.decisions import COLUMNS, decision_cells, decision_lines, decisions_of, noise_line
from reports.text.wording import escape_markdown

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from search.store.results import SearchResult


def show_decisions(result: SearchResult, place: DeltaGenerator) -> None:
    """Draw the first decisions into a place, all of them behind a fold; nothing where too little is trained.

    They take seconds after new results: call it when the rest of the page is drawn.
    """
    with place, st.spinner("Weighing the decisions"):
        found = decisions_of(result)
        if found is None:
            return
        count, *lines = decision_lines(found)
        st.subheader("Decisions", divider="gray")
        st.markdown(f"**{escape_markdown(count)}.**")
        st.markdown("\n".join(f"- {escape_markdown(line.strip())}" for line in lines))
        with st.expander(f"All {len(found.decisions)} decisions"):
            settled = [n for n, one in enumerate(found.decisions) if one.settled]
            show_table(COLUMNS, decision_cells(found), text_columns=("basis",), bold_rows=settled)
            st.caption(
                escape_markdown(
                    "A decision is between two options of an axis, for models whose files have one size, "
                    "trained for 20 tokens a weight. Its probability comes from the published law and the "
                    f"study's runs together. {noise_line(found).capitalize()}."
                )
            )
