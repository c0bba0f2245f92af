"""The prefill part of docs/accuracy.md: every measured prompt against a prediction without its model."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from benchmarks.accuracy_judged import FEW, FITTED, SHEET, Judged, by_basis, by_device
from sizer.device import load_devices
from sizer.measure.choice import (
    SIMPLEST,
    choose_features,
    fit_group,
    held_out_devices,
    held_out_prefill,
    prefill_error,
    specification,
)
from sizer.measure.regression import (
    Groups,
    Key,
    Row,
    conformal,
    conformal_of_groups,
    decode_rows,
    enough,
    grouped,
    prefill_rows,
)

_INTRODUCTION = """\
Reading speed of every row with one, predicted as decoding is: without the rows of its model on its device
(`fitted`), from other models there (`fitted, few rows`), or, where no other model's prompts were timed there,
from the operations that the other devices of a kind reach for each byte a second they decode with
(`specification`); that from the device's decoding of other models, or else from its data sheet. The range is
the device's own in the first case, else that of the other devices of its kind."""

_Judgement = tuple[list[Judged], list[Row]]


def judge_prefill(rows: Sequence[Row]) -> _Judgement:
    """Every prefill row that something can be said of without its own model, and the others."""
    groups = grouped(decode_rows(rows))
    choice = choose_features(groups)
    sheets, factors = _by_sheet(rows)
    found: list[Judged] = []
    without: list[Row] = []
    for key, group in grouped(prefill_rows(rows)).items():
        chosen = choice.get(group[0].engine, SIMPLEST)
        errors = held_out_prefill(rows, groups, key, chosen)
        factor = factors.get(key[0]) or factors[group[0].engine[1]]
        for row, e in zip(group, errors, strict=True):
            basis = FITTED if enough(group) else FEW
            if e is None:
                basis, e = SHEET, _from_decoding(rows, groups, key, row)
            if e is None:
                e = sheets.get(id(row))
            if e is None:
                without.append(row)
                continue
            rest = [o for r, o in zip(group, errors, strict=True) if o is not None and r.model != row.model]
            limit = log(conformal(rest) if basis == FITTED else factor)
            found.append(Judged(row, basis, e, abs(e) <= limit + 1e-12))
    return found, without


def _by_sheet(rows: Sequence[Row]) -> tuple[dict[int, float], dict[str, float]]:
    """Error of each row from its device's sheet; the factor of each device and kind by the other devices."""
    errors: dict[int, float] = {}
    factors: dict[str, float] = {}
    for kind in ("cpu", "gpu"):
        _, found = held_out_devices(rows, load_devices(), kind)
        of_device = {name: [e for _, e in judged] for name, judged in found.items()}
        errors |= {id(row): e for judged in found.values() for row, e in judged}
        factors[kind] = conformal_of_groups(of_device.values())
        for name in of_device:
            factors[name] = conformal_of_groups([e for other, e in of_device.items() if other != name])
    return errors, factors


def _from_decoding(rows: Sequence[Row], groups: Groups, key: Key, row: Row) -> float | None:
    """Error of a row from what its device decodes other models with; None where it decoded no other."""
    decoded = [r for r in groups.get(key, ()) if r.model != row.model]
    if not decoded:
        return None
    others = [r for r in rows if r.device != row.device]
    ratio = specification(others, load_devices(), row.engine[1]).ops_per_byte
    costs = fit_group({**groups, key: decoded}, key, SIMPLEST)
    return prefill_error(row, costs, ratio / costs["bytes"])


def prefill_lines(rows: Sequence[Row]) -> list[str]:
    """Markdown: errors and coverage by basis and device."""
    judged, without = judge_prefill(rows)
    named = "; ".join(f"{r.device} ({r.backend}) {r.model} {r.format}" for r in without)
    return [
        "### Prefill",
        "",
        _INTRODUCTION,
        "",
        *by_basis(judged),
        "",
        *by_device(judged),
        "",
        f"{len(without)} rows have nothing else to be predicted from: {named}.",
    ]
