"""Accuracy of each of the eight tasks over loss: one map a task, with its chance as the least that it can be.

Fitted to the families of `benchmarks/quality/families.py`, whose gains the mean of the eight has fixed
already: a task's map has its own middle, width, top and floor, drawn to the mean's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log

import numpy as np
from scipy.optimize import least_squares

from benchmarks.quality.families import FamilyModel, family_models, fit_map, law_losses
from sizer.quality.accuracy import AccuracyMap, Gain, anchored
from tests.published_facts import csv_rows

# Share of right answers by guessing, percent.
CHANCE = {
    "arc_e": 25.0,
    "arc_c": 25.0,
    "boolq": 50.0,
    "piqa": 50.0,
    "siqa": 100 / 3,
    "hellaswag": 25.0,
    "obqa": 25.0,
    "winogrande": 50.0,
}
_POINT_SD = 1.2
_FLOOR_SD, _TOP_SD, _MIDDLE_SD, _WIDTH_SD = 3.0, 8.0, 0.3, 0.5


def task_accuracies() -> dict[str, dict[str, float]]:
    """Return the published accuracy of each task by model, in percent."""
    rows = [r for r in csv_rows("quality.csv") if r["study"] == "final_comparison"]
    return {r["model"]: {task: float(r[task]) for task in CHANCE if r[task]} for r in rows}


def fit_tasks(
    models: Sequence[FamilyModel], curve: AccuracyMap, gains: Mapping[str, float]
) -> dict[str, AccuracyMap]:
    """Return each task's map, with the deviation of a family's models about it in points."""
    known = task_accuracies()
    losses = law_losses(models) - np.array([gains[m.family] for m in models])
    mean = np.array([curve.middle, log(curve.width)])
    found = {}
    for task, chance in CHANCE.items():
        seen = np.array([known[m.name].get(task, np.nan) for m in models])
        some = np.isfinite(seen)

        def of(p: np.ndarray) -> AccuracyMap:
            return AccuracyMap(floor=p[3], top=p[0], middle=p[1], width=exp(p[2]), sd=_POINT_SD)

        # models near chance answer a little better than by guessing
        first = np.array([min(92.0, chance + curve.top - curve.floor), mean[0], mean[1], chance + 2])

        def residuals(
            p: np.ndarray, seen: np.ndarray = seen, some: np.ndarray = some, first: np.ndarray = first
        ) -> np.ndarray:
            expected = np.array([of(p).accuracy(x) for x in losses[some]])
            away = (p - first) / (_TOP_SD, _MIDDLE_SD, _WIDTH_SD, _FLOOR_SD)
            return np.concatenate([(expected - seen[some]) / _POINT_SD, away])

        p = least_squares(residuals, first).x
        expected = np.array([of(p).accuracy(x) for x in losses[some]])
        free = max(int(some.sum()) - len(p) / 2, 1.0)
        sd = float(np.sqrt(((expected - seen[some]) ** 2).sum() / free))
        found[task] = AccuracyMap(floor=p[3], top=p[0], middle=p[1], width=exp(p[2]), sd=sd)
    return found


def tasks_left_out() -> dict[str, list[tuple[float, float]]]:
    """Return by task error and deviation of every model whose family taught neither map nor tasks.

    The family is placed by its smallest model's mean of eight, as an anchor does.
    """
    models, known = family_models(), task_accuracies()
    found: dict[str, list[tuple[float, float]]] = {task: [] for task in CHANCE}
    for family in sorted({m.family for m in models}):
        own = sorted((m for m in models if m.family == family), key=lambda m: m.weights)
        rest = [m for m in models if m.family != family]
        curve, gains = fit_map(rest)
        spread = Gain(nats=0.0, sd=float(np.hypot(np.std(list(gains.values()), ddof=1), 0.08)), basis="")
        losses = law_losses(own)
        gain = anchored(curve, float(losses[0]), own[0].accuracy, own[0].weights, prior=spread, name="")
        tasks = fit_tasks(rest, curve, gains)
        for m, x in zip(own[1:], losses[1:], strict=True):
            for task, value in known[m.name].items():
                at = float(x) - gain.nats
                of = tasks[task]
                sd = float(np.hypot(of.slope(at) * gain.sd, of.scatter(m.weights)))
                found[task].append((of.accuracy(at) - value, sd))
    return found


def tasks_text(tasks: Mapping[str, AccuracyMap]) -> list[str]:
    """Return the lines of data/accuracy.toml that hold the tasks' maps."""
    lines = []
    for name, of in tasks.items():
        lines += ["[[task]]", f'name = "{name}"', f"floor = {of.floor:.4g}", f"top = {of.top:.4g}"]
        lines += [f"middle = {of.middle:.4g}", f"width = {of.width:.4g}", f"sd = {of.sd:.2f}", ""]
    return lines
