"""Plotly figures on a page, with title and subtitle as text above them: text wraps, a drawing does not."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from reports.figures import FIGURE_CONFIG, split_title

if TYPE_CHECKING:
    from reports.figures import Figure


def show_figure(figure: Figure, *, key: str, alt: str, **options: Any) -> Any:
    """Draw a figure; return the result of `st.plotly_chart`."""
    title, subtitle, drawn = split_title(figure)
    st.html(f'<div class="sizer-words"><h3>{escape(title)}</h3><p>{escape(subtitle)}</p></div>')
    return st.plotly_chart(drawn, key=key, config=FIGURE_CONFIG, alt=alt, **options)
