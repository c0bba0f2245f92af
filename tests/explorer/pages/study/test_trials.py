"""Brushing in parallel coordinates."""

from __future__ import annotations

from explorer.pages.study.trials import Brush, brushes, kept_trials
from reports.figures.parallel import ParallelAxis, ParallelInfo, ParallelLine

AXES = tuple(ParallelAxis(name, ()) for name in ("layers", "file", "score"))
INFO = ParallelInfo(
    axes=AXES,
    lines=tuple(
        ParallelLine(trial, heights, False, "")
        for trial, heights in ((1, (0.0, 0.2, 1.0)), (4, (0.5, 0.6, 0.5)), (7, (1.0, 1.0, 0.0)))
    ),
    best=7,
    subtitle="",
    notice="",
)


def test_a_brush_is_the_part_of_the_axes_that_its_box_crosses() -> None:
    boxes = [
        {"x": [0.9, 1.2], "y": [0.7, 0.1]},
        {"x": [0.2, 0.8], "y": [0, 1]},
        {"x": [-0.1, 2.1], "y": [0, 1]},
    ]
    assert brushes(boxes) == (Brush((1,), 0.1, 0.7), Brush((0, 1, 2), 0, 1))


def test_a_trial_is_kept_if_its_line_passes_every_brush() -> None:
    assert kept_trials(INFO, ()) is None
    assert kept_trials(INFO, [Brush((1,), 0.1, 0.7)]) == frozenset({1, 4})
    assert kept_trials(INFO, [Brush((1,), 0.1, 0.7), Brush((2,), 0.0, 0.6)]) == frozenset({4})
    assert kept_trials(INFO, [Brush((0, 1), 0.4, 0.7)]) == frozenset({4})
    assert kept_trials(INFO, [Brush((0,), 0.1, 0.2)]) == frozenset()
    # an axis that the study no longer has: another study was chosen since
    assert kept_trials(INFO, [Brush((9,), 0.1, 0.2)]) == frozenset({1, 4, 7})
