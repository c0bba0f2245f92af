"""Ticks of bytes: in the units and words of the tables beside the figures."""

from __future__ import annotations

import pytest

from reports.figures.axes import byte_ticks
from reports.figures.study import study_figures
from search.store.results import SearchResult
from sizer.units import parse_bytes


@pytest.mark.parametrize(
    ("low", "high", "is_binary", "inside"),
    [
        (92_160, 101_000, False, ["95 KB", "100 KB"]),
        (0, 4_200_000, False, ["0 B", "2 MB", "4 MB"]),
        (9 * 2**20, 10.6 * 2**20, True, ["9 MiB", "9.5 MiB", "10 MiB", "10.5 MiB"]),
        (150_000, 1_050_000, False, ["500 KB", "1 MB"]),
    ],
)
def test_ticks_are_round_and_have_their_unit(
    low: float, high: float, is_binary: bool, inside: list[str]
) -> None:
    ticks = byte_ticks(low, high, is_binary=is_binary)
    within = [t for v, t in zip(ticks["tickvals"], ticks["ticktext"], strict=True) if low <= v <= high]
    assert within == inside
    read = [parse_bytes(text) for text in ticks["ticktext"] if text != "0 B"]
    assert read == [round(value) for value in ticks["tickvals"] if value]
    assert ticks["tickvals"][-1] > high  # where the axis is moved to


def test_no_figure_of_a_study_has_units_of_plotly(result: SearchResult) -> None:
    """plotly writes 95kB and 10MB where the table beside it says 95 KB and 9.54 MiB."""
    figures = study_figures(result)
    axes = {
        (name, key): axis
        for name, figure in figures.items()
        for key, axis in figure.to_dict()["layout"].items()
        if key[1:].startswith("axis")
    }
    assert not [place for place, axis in axes.items() if axis.get("ticksuffix") == "B"]
    assert "MiB" in " ".join(axes["frontier-memory_bytes", "xaxis"]["ticktext"])
    assert "MB" in " ".join(axes["frontier-file_bytes", "xaxis"]["ticktext"])
    assert "MB" in " ".join(axes["format-bytes", "yaxis"]["ticktext"])
