"""Learning curves: the training loss of every run by step, in a separate file that outlives checkpoints.

A file has a JSON object a line and is only ever added to. A killed search loses at most the last line. A run
that is taken up from an earlier checkpoint, or started again at half the rate, writes steps that it wrote
before: the later line counts, and what came after it in the earlier attempt is gone.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from math import ceil, isfinite
from pathlib import Path
from typing import NamedTuple

from search.store.folders import study_folder

FOLDER = "curves"
# Points of a run from its first step to the end of a rung: more do not show in a figure.
_MOST_POINTS = 200
# Beyond this a file is none of ours: a run of 8 rungs writes below 150 kB.
_MOST_BYTES = 8_000_000


class CurvePoint(NamedTuple):
    """Mean training loss of the steps since the point before, up to this one."""

    step: int
    loss: float  # nats per token
    rung: int


class LearningCurve(NamedTuple):
    """One run's points by growing step: which trial's model, trained from which seed."""

    number: int
    seed: int
    points: tuple[CurvePoint, ...]


def read_curves(study: str, storage: str) -> tuple[LearningCurve, ...]:
    """Read a study's curves by trial and seed as far as they are written; none for a study without."""
    found = []
    for path in (study_folder(study, storage) / FOLDER).glob("*-*.jsonl"):
        number, _, seed = path.stem.partition("-")
        if _is_number(number) and _is_number(seed):
            found.append(LearningCurve(int(number), int(seed), read_curve(path)))
    return tuple(sorted(curve for curve in found if curve.points))


def read_curve(path: Path) -> tuple[CurvePoint, ...]:
    """Read the points of one file; truncated or malformed lines are skipped."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MOST_BYTES).split(b"\n")
    except OSError:
        return ()
    points: list[CurvePoint] = []
    for line in lines:
        point = _point(line)
        if point is not None:
            while points and points[-1].step >= point.step:
                points.pop()
            points.append(point)
    return tuple(points)


def curve_file(folder: Path, number: int, seed: int) -> Path:
    """Return the file of a run's curve in a study's folder; seed 0 is the study's own."""
    return folder / FOLDER / f"{number}-{seed}.jsonl"


class CurveWriter:
    """Writes the curves of a search's runs; a curve that cannot be written is missing, and stops nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[tuple[int, int], _Writing] = {}

    def hear(self, number: int, seed: int, point: CurvePoint, steps: int) -> None:
        """Take in what a run reports of its last steps; `steps` is where its rung ends."""
        run = self._runs.get((number, seed))
        if run is None:
            path = curve_file(self._folder, number, seed)
            written = read_curve(path)
            run = self._runs[number, seed] = _Writing(path, written[-1].step if written else 0)
        run.hear(point, steps)


class _Writing:
    """One curve being written: what was heard since its last point."""

    def __init__(self, path: Path, written: int) -> None:
        self._path, self._written, self._heard = path, written, written
        self._losses: list[float] = []

    def hear(self, point: CurvePoint, steps: int) -> None:
        # the same step again: the end of a rung while a copy cools down, whose loss is not the run's
        if point.step == self._heard:
            return
        if point.step < self._heard:
            self._losses, self._written = [], 0
        self._heard = point.step
        self._losses.append(point.loss)
        if self._written and point.step < steps and point.step - self._written < ceil(steps / _MOST_POINTS):
            return
        mean, self._losses = sum(self._losses) / len(self._losses), []
        self._written = point.step
        if isfinite(mean):  # a run that diverged has no loss to draw, and JSON no word for it
            with suppress(OSError):
                _append(self._path, point._replace(loss=mean))


def _append(path: Path, point: CurvePoint) -> None:
    """Add a line; where the last one was cut short by a kill, after it rather than to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(point._asdict()).encode() + b"\n"
    with path.open("ab+") as file:
        torn = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        file.write(b"\n" + line if torn else line)


def _point(line: bytes) -> CurvePoint | None:
    try:
        values = json.loads(line)
        step, loss, rung = values["step"], float(values["loss"]), values["rung"]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in (step, rung))
    return CurvePoint(step, loss, rung) if whole and isfinite(loss) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
