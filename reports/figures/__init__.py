"""Figures: *_info decides, *_figure only draws; one file for each, and the style of all in style.py."""

from __future__ import annotations

from plotly.graph_objects import Figure

from reports.figures.frontier import FrontierInfo, FrontierPoint, frontier_figure, frontier_info
from reports.figures.style import FIGURE_CONFIG, split_title, style

__all__ = [
    "FIGURE_CONFIG",
    "Figure",
    "FrontierInfo",
    "FrontierPoint",
    "frontier_figure",
    "frontier_info",
    "style",
    "split_title",
]
