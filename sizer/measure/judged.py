"""Measured speeds beside what is predicted without them: how near an estimate comes to what is new to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import exp, log
from typing import NamedTuple

from sizer.device import load_devices
from sizer.measure.choice import (
    SIMPLEST,
    choose_features,
    fit_group,
    held_out_devices,
    held_out_models,
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
    error,
    grouped,
    prefill_rows,
    read_rows,
)

# What a prediction was made from: other models on the same device, one or two of them, or other devices.
FITTED, FEW, SHEET = "fitted", "fitted, few rows", "specification"


class Judged(NamedTuple):
    """A measured speed, what was predicted without its model, and whether the range held it."""

    row: Row
    basis: str
    error: float  # log(predicted / measured)
    limit: float  # log of the range's factor: low and high are that far from the prediction
    of_prompt: bool = False  # of reading a prompt, else of decoding

    @property
    def inside(self) -> bool:
        """Whether the measured speed lies in the range."""
        return abs(self.error) <= self.limit + 1e-12

    @property
    def measured(self) -> float:
        """Tokens per second, as published."""
        rate = self.row.prefill_tokens_per_s if self.of_prompt else self.row.decode_tokens_per_s
        assert rate is not None
        return rate

    @property
    def predicted(self) -> float:
        """Tokens per second, without this row's model on its device."""
        return self.measured * exp(self.error)

    @property
    def low(self) -> float:
        """The range's lower end in tokens per second."""
        return self.predicted / exp(self.limit)

    @property
    def high(self) -> float:
        """The range's upper end in tokens per second."""
        return self.predicted * exp(self.limit)


@cache
def judged_measurements() -> tuple[tuple[Judged, ...], tuple[Judged, ...]]:
    """Decoding and prompt speeds of data/measurements.csv, judged once: it takes seconds."""
    rows = read_rows()
    return tuple(judge(rows)[0]), tuple(judge_prefill(rows)[0])


def judge(rows: Sequence[Row]) -> tuple[list[Judged], list[Row]]:
    """Every decode row that something can be said of without its own model, and the others.

    Ranges, too, are learned from other models, or other devices, than the row's.
    """
    groups = grouped(decode_rows(rows))
    choice = choose_features(groups)
    sheet, sheet_factor = _by_sheet(rows)
    few = _few(groups)
    found: list[Judged] = []
    without: list[Row] = []
    for key, group in groups.items():
        if enough(group):
            errors = held_out_models(groups, key, choice[group[0].engine])
            for row, e in zip(group, errors, strict=True):
                rest = [o for r, o in zip(group, errors, strict=True) if r.model != row.model]
                found.append(Judged(row, FITTED, e, log(conformal(rest))))
        elif key in few:
            others = [[e for _, e in errors] for other, errors in few.items() if other != key]
            limit = log(conformal_of_groups(others))
            found += [Judged(row, FEW, e, limit) for row, e in few[key]]
        else:
            for row in group:
                if id(row) in sheet:
                    found.append(Judged(row, SHEET, sheet[id(row)], log(sheet_factor[row.device])))
                else:
                    without.append(row)
    return found, without


def _by_sheet(rows: Sequence[Row]) -> tuple[dict[int, float], dict[str, float]]:
    """Error of each row predicted from its device's sheet, and the factor that the other devices teach."""
    errors: dict[int, float] = {}
    factors: dict[str, float] = {}
    for kind in ("cpu", "gpu"):
        found, _ = held_out_devices(rows, load_devices(), kind)
        for name, judged in found.items():
            errors |= {id(row): e for row, e in judged}
            factors[name] = conformal_of_groups(
                [[e for _, e in others] for other, others in found.items() if other != name]
            )
    return errors, factors


def _few(groups: Groups) -> dict[Key, list[tuple[Row, float]]]:
    """Rows of devices with few rows of several models, each predicted from those of the other models."""
    found: dict[Key, list[tuple[Row, float]]] = {}
    for key, rows in groups.items():
        if enough(rows) or len({r.model for r in rows}) < 2:
            continue
        for row in rows:
            rest = {**groups, key: [r for r in rows if r.model != row.model]}
            found.setdefault(key, []).append((row, error(fit_group(rest, key, SIMPLEST), row)))
    return found


def judge_prefill(rows: Sequence[Row]) -> tuple[list[Judged], list[Row]]:
    """Every prefill row that something can be said of without its own model, and the others."""
    groups = grouped(decode_rows(rows))
    choice = choose_features(groups)
    sheets, factors = _prompts_by_sheet(rows)
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
            found.append(Judged(row, basis, e, limit, of_prompt=True))
    return found, without


def _prompts_by_sheet(rows: Sequence[Row]) -> tuple[dict[int, float], dict[str, float]]:
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
