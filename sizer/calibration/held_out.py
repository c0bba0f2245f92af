"""python -m sizer.calibration.held_out: every measured speed, predicted without its model or its device.

Writes data/held_out.csv, which the page Evidence shows (sizer/calibration/held_out_file.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import log

from sizer.calibration.choice import (
    LEAST_OF_CLASS,
    SIMPLEST,
    choose_terms,
    engine_class,
    few_prompts_errors,
    few_prompts_factor,
    fit_few,
    held_out_models,
    held_out_prompts,
    left_out_unit,
    pool_without,
)
from sizer.calibration.format_costs import taught_without
from sizer.calibration.held_out_file import HELD_OUT, held_out_text
from sizer.calibration.measurement_file import read_rows
from sizer.calibration.pools import row_family
from sizer.calibration.predicted_speed import PredictedSpeed
from sizer.calibration.regression import (
    Groups,
    Key,
    MeasurementRow,
    conformal,
    conformal_of_few,
    decode_rows,
    enough,
    error,
    grouped,
    prefill_rows,
)
from sizer.calibration.unseen import (
    Errors,
    engine_devices,
    spread,
    unseen_devices,
    unseen_engines,
    unseen_factor,
)
from sizer.devices.catalogue import load_devices
from sizer.devices.profile import BACKEND_KINDS

# Basis of a prediction: other models on the same device, one or two of them, or other devices.
FITTED, FEW, SHEET = "fitted", "fitted, few rows", "specification"


# A measured speed, its prediction without the rows of its model, and the range.
HeldOutPrediction = PredictedSpeed[MeasurementRow]


@cache
def held_out_measurements() -> tuple[tuple[HeldOutPrediction, ...], tuple[HeldOutPrediction, ...]]:
    """Predict the decode and prefill speeds of data/measurements.csv, once: it takes seconds."""
    rows = read_rows()
    return tuple(predict_decode(rows)[0]), tuple(predict_prefill(rows)[0])


@cache
def unseen_measurements() -> tuple[tuple[HeldOutPrediction, ...], tuple[HeldOutPrediction, ...]]:
    """Predict every device of data/measurements.csv without any of its rows, decode and prefill."""
    unseen, engines = unseen_devices(read_rows(), load_devices()), _engines(read_rows())
    found: tuple[list[HeldOutPrediction], list[HeldOutPrediction]] = ([], [])
    for u in unseen:
        for prompts, errors in enumerate((u.decode, u.prefill)):
            limit = log(unseen_factor(unseen, engines, u, prompts=bool(prompts)))
            found[prompts].extend(
                HeldOutPrediction(row, SHEET, e, limit, of_prompt=bool(prompts)) for row, e in errors
            )
    return tuple(found[0]), tuple(found[1])


def _engines(rows: Sequence[MeasurementRow]) -> dict[str, list[Errors]]:
    """Return the errors of engines left out whole, by kind of backend."""
    return {kind: unseen_engines(rows, load_devices(), kind) for kind in BACKEND_KINDS}


def predict_decode(rows: Sequence[MeasurementRow]) -> tuple[list[HeldOutPrediction], list[MeasurementRow]]:
    """Predict every decode row without the rows of its model; the rows without a prediction come second.

    Ranges are fitted to other models, or other devices, too.
    """
    devices = load_devices()
    groups = grouped(decode_rows(rows))
    choice = choose_terms(groups)
    unseen, engines = unseen_devices(rows, devices), _engines(rows)
    sheet = {id(row): (u, e) for u in unseen for row, e in u.decode}
    few = _few(groups, rows)
    found: list[HeldOutPrediction] = []
    without: list[MeasurementRow] = []
    for key, group in groups.items():
        if enough(group):
            errors = held_out_models(groups, key, choice[group[0].engine])
            for row, e in zip(group, errors, strict=True):
                rest = [o for r, o in zip(group, errors, strict=True) if r.model != row.model]
                found.append(HeldOutPrediction(row, FITTED, e, log(conformal(rest))))
        elif key in few:
            limit = log(conformal_of_few(_others(few, key, rows)))
            found += [HeldOutPrediction(row, FEW, e, limit) for row, e in few[key]]
        else:
            for row in group:
                if id(row) not in sheet:
                    without.append(row)
                    continue
                u, e = sheet[id(row)]
                limit = log(unseen_factor(unseen, engines, u))
                found.append(HeldOutPrediction(row, SHEET, e, limit))
    return found, without


def _others(
    few: Mapping[Key, Sequence[tuple[MeasurementRow, float]]], key: Key, rows: Sequence[MeasurementRow]
) -> list[list[float]]:
    """Return the errors of other devices with few rows: those of the same class, or of all if too few."""
    devices = load_devices()
    of_class = engine_class(rows, devices, few[key][0][0])
    others = {other: errors for other, errors in few.items() if other != key}
    alike = [e for e in others.values() if engine_class(rows, devices, e[0][0]) == of_class]
    chosen = alike if len(alike) >= LEAST_OF_CLASS else list(others.values())
    return [[e for _, e in errors] for errors in chosen]


def _few(groups: Groups, rows: Sequence[MeasurementRow]) -> dict[Key, list[tuple[MeasurementRow, float]]]:
    """Predict the rows of devices with few rows of several models, each from the rows of the others."""
    devices = load_devices()
    found: dict[Key, list[tuple[MeasurementRow, float]]] = {}
    for key, own in groups.items():
        # rows of one model in several formats are left out by format
        units = [*map(left_out_unit(own), own)]
        if enough(own) or len(set(units)) < 2:
            continue
        pool = pool_without(rows, devices, own[0])
        for row, unit in zip(own, units, strict=True):
            hidden = [r for r, u in zip(own, units, strict=True) if u == unit]
            taught = taught_without(own, rows, hidden)
            rest = [r for r, u in zip(taught, units, strict=True) if u != unit]
            (as_asked,) = [t for r, t in zip(own, taught, strict=True) if r is row]
            found.setdefault(key, []).append((row, error(fit_few(rest, pool, devices), as_asked)))
    return found


def predict_prefill(rows: Sequence[MeasurementRow]) -> tuple[list[HeldOutPrediction], list[MeasurementRow]]:
    """Predict every prefill row without the rows of its model; the rows without a prediction come second."""
    devices = load_devices()
    groups = grouped(decode_rows(rows))
    choice = choose_terms(groups)
    unseen = unseen_devices(rows, devices)
    sheets = {id(row): (u, e) for u in unseen for row, e in u.prefill}
    few = few_prompts_errors(rows, groups, choice, devices)
    found: list[HeldOutPrediction] = []
    without: list[MeasurementRow] = []
    for key, group in grouped(prefill_rows(rows)).items():
        chosen = choice.get(group[0].engine, SIMPLEST)
        errors = held_out_prompts(rows, groups, key, chosen, devices)
        rest_few = [found_few for other, found_few in few.items() if other != key]
        few_factor = few_prompts_factor(rest_few, engine_class(rows, devices, group[0]))
        for row, e in zip(group, errors, strict=True):
            basis = FITTED if enough(group) else FEW
            others = [o for o in unseen if o.device != row.device]
            family = row_family(row, devices)
            peers = engine_devices([r for r in rows if r.device != row.device], devices, family, row.runtime)
            unseen_factor = spread(others, family, row.engine[1], peers=peers, prompts=True)
            factor = few_factor or unseen_factor
            if e is None and id(row) in sheets:
                basis, e = SHEET, sheets[id(row)][1]
                factor = unseen_factor
            if e is None:
                without.append(row)
                continue
            unit = left_out_unit(group)
            rest = [o for r, o in zip(group, errors, strict=True) if o is not None and unit(r) != unit(row)]
            limit = log(conformal(rest) if basis == FITTED and rest else factor)
            found.append(HeldOutPrediction(row, basis, e, limit, of_prompt=True))
    return found, without


def main() -> None:
    """Write data/held_out.csv."""
    rows = read_rows()
    places = {id(row): n for n, row in enumerate(rows)}
    found = (*predict_decode(rows)[0], *predict_prefill(rows)[0])
    HELD_OUT.write_text(held_out_text([(places[id(j.row)], j) for j in found]), encoding="utf-8")


if __name__ == "__main__":
    main()
