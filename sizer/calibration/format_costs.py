"""Costs of formats on CPUs: bytes and operations under an instruction set, relative to a reference format's.

The reference is Q4_K_M for llama.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class _Comparison(NamedTuple):
    """How an engine's formats are compared on a device."""

    runtime: str
    reference: str  # the format whose bytes and operations cost 1
    formats: int  # that it takes on a device
    same_model: bool  # only rows of one model are compared
    drawn_devices: float  # devices on which all formats cost 1, added to those measured


_COMPARISONS = (
    _Comparison("llama.cpp", "Q4_K_M", 3, same_model=True, drawn_devices=0.3),
    # No model was timed in two formats. Blocks of 4 bits multiply at a third to a half of the rate of 8 bits.
    _Comparison("litert-lm", "8.1 bits", 2, same_model=False, drawn_devices=1),
)
# Names of the formats that rows give in bits.
FORMAT_OF_BITS = {("litert-lm", "4.5 bits"): "dynamic_int4_block32"}
INSTRUCTION_SETS = ("arm", "x86")


def format_costs(rows: Sequence[MeasurementRow]) -> dict[tuple[str, str, str], FormatCost]:
    """Fit the costs of an engine's formats on CPUs to devices with rows of several formats.

    Each device gives the ratio of a format's bytes/s (and operations/s) to those of the reference format. The
    cost for all CPUs is the geometric mean over devices, drawn to 1 as if a few more gave that (little where
    one model was timed in several formats); an instruction set's, whose kernels are its own, is drawn to that
    of all CPUs likewise.
    """
    found: dict[tuple[str, str, str], FormatCost] = {}
    for comparison in _COMPARISONS:
        found |= _costs_of(rows, comparison)
    return found


def _costs_of(
    rows: Sequence[MeasurementRow], comparison: _Comparison
) -> dict[tuple[str, str, str], FormatCost]:
    runtime, reference = comparison.runtime, comparison.reference
    sets: dict[tuple[str, str], list[MeasurementRow]] = {}
    for row in rows:
        if row.engine == (runtime, "cpu") and row.costs is not None:
            sets.setdefault((row.device, row.model if comparison.same_model else ""), []).append(row)
    compared = [own for own in sets.values() if len({r.format for r in own}) >= comparison.formats]
    found: dict[tuple[str, str, str], FormatCost] = {}
    for instructions in INSTRUCTION_SETS:
        for name in dict.fromkeys(r.format for own in compared for r in own):
            found_in = [
                (own[0].instructions, ratio) for own in compared if (ratio := _ratios(own, name, reference))
            ]
            ratios = [ratio for _, ratio in found_in]
            of_set = [ratio for own_set, ratio in found_in if own_set == instructions]
            counted = sum(r.format == name for own in compared for r in own if r.instructions == instructions)
            weight = comparison.drawn_devices
            of_all = [_drawn([r[i] for r in ratios], 0.0, weight) for i in (0, 1)]
            costs = [_drawn([r[i] for r in of_set], of_all[i], weight) for i in (0, 1)]
            if name != reference and ratios:
                key = (runtime, instructions, name)
                found[key] = FormatCost(exp(costs[0]), exp(costs[1]), len(of_set), counted)
    return found


def _drawn(logs: Sequence[float | None], towards: float, weight: float) -> float:
    """Return the mean of the logarithms there are, drawn as if `weight` more were `towards`."""
    known = [value for value in logs if value is not None]
    return (sum(known) + weight * towards) / (len(known) + weight)


def _ratios(
    own: Sequence[MeasurementRow], name: str, reference_format: str
) -> tuple[float | None, float | None] | None:
    """Return log costs of a byte and of an operation in a format on one device; None without its rows."""
    speeds: tuple[list[tuple[str, float]], ...] = (
        [(r.format, r.decode_bytes * r.decode_tokens_per_s) for r in own if r.decode_tokens_per_s],
        [(r.format, r.prefill_ops_per_s) for r in own if r.prefill_tokens_per_s],
    )
    costs: list[float | None] = []
    for of_kind in speeds:
        reference = [v for n, v in of_kind if n == reference_format]
        of_name = [v for n, v in of_kind if n == name]
        both = reference and of_name
        costs.append(log(geometric_mean(reference) / geometric_mean(of_name)) if both else None)
    return None if costs == [None, None] else (costs[0], costs[1])


def unformatted(row: MeasurementRow) -> MeasurementRow:
    """Return a row without the costs of its format."""
    if row.costs is None:
        return row
    return replace(row, costs=row.costs._replace(format_byte_cost=1.0, format_op_cost=1.0))


def with_format_costs(
    rows: Sequence[MeasurementRow], known: Mapping[tuple[str, str, str], FormatCost]
) -> list[MeasurementRow]:
    """Return rows with the costs of their formats in their models' costs; those of others as they are."""
    found = []
    for row in rows:
        cost = known.get((row.runtime, row.instructions, row.format))
        if cost is not None and row.costs is not None:
            costs = row.costs._replace(format_byte_cost=cost.byte_cost, format_op_cost=cost.op_cost)
            row = replace(row, costs=costs)
        found.append(row)
    return found


def taught_without(
    own: Sequence[MeasurementRow], rows: Sequence[MeasurementRow], left_out: Sequence[MeasurementRow]
) -> list[MeasurementRow]:
    """Return a device's rows with the costs of formats that the engine's rows show without those left out."""
    hidden, engine = {id(r) for r in left_out}, own[0].engine
    known = format_costs([unformatted(r) for r in rows if r.engine == engine and id(r) not in hidden])
    return with_format_costs([unformatted(r) for r in own], known)
