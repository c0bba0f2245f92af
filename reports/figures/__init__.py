"""Figures: *_info decides, *_figure only draws; one file for each, and the style of all in style.py."""

from __future__ import annotations

from reports.figures.frontier import FrontierInfo, FrontierPoint, frontier_figure, frontier_info
from reports.figures.style import BLUE, FIGURE_CONFIG, GREEN, GREY, VERMILION, style

__all__ = [
    "BLUE",
    "FIGURE_CONFIG",
    "GREEN",
    "GREY",
    "VERMILION",
    "FrontierInfo",
    "FrontierPoint",
    "frontier_figure",
    "frontier_info",
    "style",
]
