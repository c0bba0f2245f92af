"""Costs of formats on CPUs: bytes and operations under an instruction set, relative to Q4_K_M's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from typing import NamedTuple

from sizer.calibration.regression import MeasurementRow, geometric_mean


class FormatCost(NamedTuple):
    """Costs of a format under an engine and instruction set, relative to the reference format's."""

    byte_cost: float
    op_cost: float
    devices: int
    rows: int


# The format whose bytes and operations cost 1, and how many it takes on a device to compare them.
_REFERENCE_FORMAT, _COMPARED_FORMATS = "Q4_K_M", 3
INSTRUCTION_SETS = ("arm", "x86")


def format_costs(rows: Sequence[MeasurementRow]) -> dict[tuple[str, str, str], FormatCost]:
    """Fit the costs of llama.cpp's formats on CPUs to devices with rows of one model in several formats.

    Each device gives the ratio of a format's bytes/s (and operations/s) to those of Q4_K_M. The cost for all
    CPUs is the geometric mean over devices, drawn to 1 as if one more device gave that; an instruction set's,
    whose kernels are its own, is drawn to that of all CPUs likewise.
    """
    sets: dict[tuple[str, str], list[MeasurementRow]] = {}
    for row in rows:
        if row.engine == ("llama.cpp", "cpu") and row.costs is not None:
            sets.setdefault((row.device, row.model), []).append(row)
    compared = [own for own in sets.values() if len({r.format for r in own}) >= _COMPARED_FORMATS]
    found: dict[tuple[str, str, str], FormatCost] = {}
    for instructions in INSTRUCTION_SETS:
        for name in dict.fromkeys(r.format for own in compared for r in own):
            found_in = [(own[0].instructions, ratio) for own in compared if (ratio := _ratios(own, name))]
            ratios = [ratio for _, ratio in found_in]
            of_set = [ratio for own_set, ratio in found_in if own_set == instructions]
            counted = sum(r.format == name for own in compared for r in own if r.instructions == instructions)
            costs = [_drawn([r[i] for r in of_set], _drawn([r[i] for r in ratios], 0.0)) for i in (0, 1)]
            if name != _REFERENCE_FORMAT and ratios:
                key = ("llama.cpp", instructions, name)
                found[key] = FormatCost(exp(costs[0]), exp(costs[1]), len(of_set), counted)
    return found


def _drawn(logs: Sequence[float | None], towards: float) -> float:
    """Return the mean of the logarithms there are, drawn as if one more were `towards`."""
    known = [value for value in logs if value is not None]
    return (sum(known) + towards) / (len(known) + 1)


def _ratios(own: Sequence[MeasurementRow], name: str) -> tuple[float | None, float | None] | None:
    """Return log costs of a byte and of an operation in a format on one device; None without its rows."""
    speeds: tuple[list[tuple[str, float]], ...] = (
        [(r.format, r.decode_bytes * r.decode_tokens_per_s) for r in own if r.decode_tokens_per_s],
        [(r.format, r.prefill_ops_per_s) for r in own if r.prefill_tokens_per_s],
    )
    costs: list[float | None] = []
    for of_kind in speeds:
        reference = [v for n, v in of_kind if n == _REFERENCE_FORMAT]
        of_name = [v for n, v in of_kind if n == name]
        both = reference and of_name
        costs.append(log(geometric_mean(reference) / geometric_mean(of_name)) if both else None)
    return None if costs == [None, None] else (costs[0], costs[1])


def unformatted(row: MeasurementRow) -> MeasurementRow:
    """Return a row without the costs of its format."""
    if row.costs is None:
        return row
    return replace(row, costs=row.costs._replace(format_byte_cost=1.0, format_op_cost=1.0))
