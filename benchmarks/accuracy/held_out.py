"""Tables of measured speeds and of what was predicted without their model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import exp
from statistics import median

from sizer.calibration.held_out import FEW, FITTED, SHEET, HeldOutPrediction


def by_basis(judged: Sequence[HeldOutPrediction]) -> list[str]:
    """Table of errors and coverage, a line for each basis and one for all."""
    lines = [
        "| basis | rows | median error | 90 % within | inside the 80 % range |",
        "|---|---:|---:|---:|---:|",
    ]
    for basis in (FITTED, FEW, SHEET):
        if some := [j for j in judged if j.basis == basis]:
            lines.append(f"| {basis} | {len(some)} | {_summary(some)} |")
    lines.append(f"| all | {len(judged)} | {_summary(judged)} |")
    return lines


def by_device(judged: Sequence[HeldOutPrediction]) -> list[str]:
    """The same by device, engine, backend and basis."""
    lines = [
        "| device | runtime | backend | basis | rows | median error | 90 % within | inside the 80 % range |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for key in dict.fromkeys((*j.row.key, j.basis) for j in judged):
        some = [j for j in judged if (*j.row.key, j.basis) == key]
        lines.append(f"| {' | '.join(key)} | {len(some)} | {_summary(some)} |")
    return lines


def by_class(judged: Sequence[HeldOutPrediction], kind: Callable[[HeldOutPrediction], str]) -> list[str]:
    """Table of errors and coverage by a class of rows, such as their engine."""
    lines = [
        "| class | devices | rows | median error | 90 % within | inside the 80 % range |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(map(kind, judged)):
        some = [j for j in judged if kind(j) == name]
        devices = len({j.row.device for j in some})
        lines.append(f"| {name} | {devices} | {len(some)} | {_summary(some)} |")
    lines.append(f"| all | {len({j.row.device for j in judged})} | {len(judged)} | {_summary(judged)} |")
    return lines


def by_left_out_device(judged: Sequence[HeldOutPrediction]) -> list[str]:
    """Table of errors and coverage of devices left out whole, with the median of their medians."""
    lines = [
        "| device | backend | rows | median error | 90 % within | inside the 80 % range |",
        "|---|---|---:|---:|---:|---:|",
    ]
    middles = []
    for key in dict.fromkeys((j.row.device, j.row.backend) for j in judged):
        some = [j for j in judged if (j.row.device, j.row.backend) == key]
        middles.append(median_error(j.error for j in some))
        lines.append(f"| {' | '.join(key)} | {len(some)} | {_summary(some)} |")
    lines.append(f"| median of the devices | | {len(judged)} | {percent(median(middles))} | | |")
    return lines


def _summary(some: Sequence[HeldOutPrediction]) -> str:
    misses = sorted(abs(exp(j.error) - 1) for j in some)
    last = misses[min(len(misses) - 1, int(0.9 * len(misses)))]
    inside = sum(j.inside for j in some) / len(some)
    return f"{percent(median(misses))} | {percent(last)} | {inside:.0%}"


def median_error(errors: Iterable[float]) -> float:
    """Median absolute relative error from log errors."""
    return median(abs(exp(e) - 1) for e in errors)


def percent(value: float) -> str:
    """A share to a tenth of a per cent."""
    return f"{100 * value:.1f} %"
