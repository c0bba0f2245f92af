"""The speed part of docs/accuracy.md: every measured row against what is predicted without its model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import exp, log
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.accuracy.held_out import (
    by_basis,
    by_class,
    by_device,
    by_left_out_device,
    median_error,
    percent,
)
from benchmarks.accuracy.prefill import prefill_lines
from sizer.calibration.held_out import FITTED, HeldOutPrediction, predict_decode, unseen_measurements
from sizer.calibration.measurement_file import read_rows
from sizer.calibration.pools import row_family
from sizer.calibration.regression import MeasurementRow
from sizer.calibration.unseen import unseen_engines
from sizer.devices.catalogue import load_devices
from sizer.devices.constants import profiles
from sizer.devices.device import Device, DeviceKind
from sizer.devices.energy import arithmetic_joules

_INTRODUCTION = """\
Decoding speed of every row of `sizer/data/measurements.csv`, predicted without the rows of its model on its
device (`fitted`), from one or two other models there (`fitted, few rows`), or, where a device has rows of one
model only, without the device, from its data sheet (`specification`). The 80 % range of each row was learned
from other models, or devices, as well. Error: |predicted / measured - 1|. The rows are all there
are but those measured hot: none was set aside, and the choice of terms for each engine (`[[model]]` in
`profiles.toml`) saw all of them."""
_ENERGY = """\
Measured joules per token, with the arithmetic at 7 nm (BitNet table 2) and the weights at 100 pJ a byte
(MobileLLM), and, where the device's power is known, that power over the measured speed (on some devices that
power is the row's own). Arithmetic and memory leave out what the rest of the machine takes; the high end of
such a prediction is {high:.0f} pJ a byte, the most in this table."""
_OTHERS = """\
The same rows under llmfit's formula (bandwidth x 0.55 / bytes at the nominal width where it knows the
bandwidth, else a constant per backend over the parameters) and LLM-Viewer's roofline (weights at the nominal
width over the theoretical bandwidth), both computed here. Where no bandwidth is known, LLM-Viewer says
nothing."""

_ABOVE = """\
Of the devices with {least} rows or more, these are above 10 %: {devices}.
Many of their rows are from one table of whole tokens/s (react-native-executorch), which lists some shapes
twice, under two models' names, and says of them different things: {twins}.
No formula of shapes and bytes gives both, and neither heat nor threads are printed. Tried and not kept, as no
better on models held out: weights by how coarsely a speed is printed (OnePlus 12 10.3 %, Pixel 10 20.4 %,
iPhone SE 3 14.3 %, and the Galaxy S24 Ultra from 9.4 to 10.0 %); the engine's other sets of terms (the one
that suits the Pixel 10 better, 16.1 %, is worse on the OnePlus 12 and the iPhone, 12.9 and 27.4 %)."""
_LEAST_ROWS = 6


# llmfit's formula and tables: github AlexsJones/llmfit llmfit-core/src/fit.rs and models.rs (MIT), as a
# public port has them. Bytes a weight and relative speed by the first digit of the type.
_LLMFIT_BYTES = {"F": 2.0, "8": 1.0, "6": 0.75, "5": 0.625, "4": 0.5, "3": 0.375, "2": 0.25}
_LLMFIT_SPEED = {"F": 0.6, "8": 0.8, "6": 0.95, "5": 1.0, "4": 1.15, "3": 1.25, "2": 1.35}
_LLMFIT_K = {"cuda": 220, "rocm": 180, "vulkan": 150, "metal": 160}
_LLMFIT_CPU_ONLY = 0.3


def llmfit_tokens_per_s(row: MeasurementRow, device: Device) -> float:
    """Tokens per second as llmfit says: bandwidth x 0.55 / bytes, or a constant per backend / parameters."""
    billions = max(row.weights / 1e9, 0.1)
    digit = _digit(row)
    sheet = device.bandwidth_theoretical_bytes_per_s
    if row.backend in ("cuda", "rocm", "metal") and sheet and device.kind is not DeviceKind.BOARD:
        return sheet.value / 1e9 / (billions * _LLMFIT_BYTES[digit]) * 0.55
    if row.backend == "cpu":
        x86 = device.soc is not None and device.soc.startswith(("Core", "Ryzen"))
        constant, mode = (70 if x86 else 90), _LLMFIT_CPU_ONLY
    else:
        constant, mode = _LLMFIT_K.get(row.backend, 70), 1.0
    cores = 1.0 if (device.soc or "").startswith("BCM") else 1.1  # eight or more
    return constant / billions * _LLMFIT_SPEED[digit] * cores * mode


def llm_viewer_tokens_per_s(row: MeasurementRow, device: Device) -> float | None:
    """Tokens per second of LLM-Viewer's roofline (github hahnyuan/LLM-Viewer, arXiv 2402.16363).

    Decoding is bound by memory: the weights of all matrices at the nominal bits and the cache in 16 bits over
    the theoretical bandwidth. None without one.
    """
    sheet = device.bandwidth_theoretical_bytes_per_s
    if sheet is None or row.costs is None:
        return None
    bits = {"F": 32 if row.format == "32 bits" else 16}.get(_digit(row), 0) or int(_digit(row))
    read = (row.costs.block_weights + row.costs.head_weights) * bits / 8 + row.kv_bytes
    return sheet.value / read


def _digit(row: MeasurementRow) -> str:
    if row.format.endswith(" bits"):
        bits = float(row.format.removesuffix(" bits"))
        return "F" if bits >= 16 else "8" if bits > 7 else "4" if bits > 3 else "2"
    return "F" if row.format.startswith("F") else row.format.lstrip("ITQ")[0]


def latency_section() -> str:
    """Markdown: errors and coverage by device and basis, energy, and every row beside two other formulas."""
    rows = read_rows()
    judged, without = predict_decode(rows)
    return "\n".join(
        [
            "## Speed",
            "",
            _INTRODUCTION,
            "",
            *by_basis(judged),
            "",
            *by_device(judged),
            "",
            _above_ten(judged),
            "",
            "### By engine and backend, with rows of the device",
            "",
            *by_class(judged, lambda j: f"{j.row.runtime} on {j.row.backend}"),
            "",
            *_left_out(rows),
            "",
            *prefill_lines(rows),
            "",
            *_energy(rows),
            "",
            "### Beside llmfit and LLM-Viewer",
            "",
            _OTHERS,
            "",
            *_beside(judged),
            "",
            "### Every row",
            "",
            "Tokens per second.",
            "",
            *_every(judged),
            "",
            f"{len(without)} rows are of devices with one model and no known bandwidth: "
            + "; ".join(f"{r.device} {r.model} {r.format}" for r in without)
            + ".",
            "",
        ]
    )


_LEFT_OUT = """\
Every device predicted without any of its rows, from the pool of its family (`sizer/calibration/pools.py`) and
its data sheet; where no bandwidth is known, as fast as measured devices of its size. Each range was learned
without the device. Below, every engine predicted from the other engines of its family of devices."""


def _left_out(rows: Sequence[MeasurementRow]) -> list[str]:
    """Devices and engines left out whole: errors and coverage by family."""
    devices = load_devices()
    decode, prompts = unseen_measurements()
    lines = ["### Devices left out whole", "", _LEFT_OUT, ""]
    for title, judged in (("Decoding", decode), ("Prompts", prompts)):
        lines += [f"{title}, by family:", "", *by_class(judged, lambda j: row_family(j.row, devices)), ""]
    lines += ["Decoding, by device:", "", *by_left_out_device(decode), ""]
    lines += ["| engine left out | rows | median error |", "|---|---:|---:|"]
    for kind in ("cpu", "gpu", "npu"):
        for errors in unseen_engines(rows, devices, kind):
            row, middle = errors[0][0], median_error(e for _, e in errors)
            family = row_family(row, devices)
            lines.append(f"| {row.runtime} on {family} | {len(errors)} | {percent(middle)} |")
    return lines


def _above_ten(judged: Sequence[HeldOutPrediction]) -> str:
    """Why the devices with the largest errors have them; what their tables say of one shape twice."""
    devices, seen = [], []
    for key in dict.fromkeys(j.row.key for j in judged):
        some = [j for j in judged if j.row.key == key]
        middle = median_error(j.error for j in some)
        if len(some) >= _LEAST_ROWS and some[0].basis == FITTED and middle > 0.1:
            devices.append(f"{' '.join(key)} ({percent(middle)})")
            seen += twins([j.row for j in some])
    return _ABOVE.format(least=_LEAST_ROWS, devices=", ".join(devices), twins="; ".join(seen))


def twins(rows: Sequence[MeasurementRow]) -> list[str]:
    """Speeds of one shape with weights of one width where a source prints different ones for a device."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row.model, row.format, row.source), []).append(row.decode_tokens_per_s or 0.0)
    return [
        f"{rows[0].device} {model} {width} {min(speeds):g} and {max(speeds):g}"
        for (model, width, _), speeds in found.items()
        if min(speeds) < max(speeds)
    ]


def _energy(rows: Sequence[MeasurementRow]) -> list[str]:
    lines = [
        "### Energy",
        "",
        _ENERGY.format(high=profiles().energy.high_joules_per_byte * 1e12),
        "",
        "| device | model | measured J | arithmetic and bytes J | power / speed J | pJ a byte |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        if row.joules_per_token is None or row.costs is None or row.decode_tokens_per_s is None:
            continue
        device = load_devices().get(row.device)
        watts = device.load_power_watts if device else None
        counted = arithmetic_joules(row.costs) + row.costs.step_bytes * 100e-12
        over = f"{watts.value / row.decode_tokens_per_s:.3g}" if watts else ""
        per_byte = row.joules_per_token / row.decode_bytes * 1e12
        lines.append(
            f"| {row.device} | {row.model} {row.format} | {row.joules_per_token:.3g} | {counted:.3g} "
            f"| {over} | {per_byte:.0f} |"
        )
    return lines


def _beside(judged: Sequence[HeldOutPrediction]) -> list[str]:
    lines = ["| rows | number | sizer | llmfit | LLM-Viewer |", "|---|---:|---:|---:|---:|"]
    known = [(j, *_others(j.row)) for j in judged]
    for title, some in (
        ("all", known),
        ("CPU", [k for k in known if k[0].row.backend == "cpu"]),
        ("GPU", [k for k in known if k[0].row.backend != "cpu"]),
        ("below 1B", [k for k in known if k[0].row.weights < 1e9]),
    ):
        ours = [j.error for j, _, _ in some]
        llmfit = [e for _, e, _ in some if e is not None]
        viewer = [e for _, _, e in some if e is not None]
        lines.append(
            f"| {title} | {len(some)} | {percent(median_error(ours))} | {percent(median_error(llmfit))} "
            f"| {percent(median_error(viewer))} ({len(viewer)} rows) |"
        )
    return lines


def _others(row: MeasurementRow) -> tuple[float | None, float | None]:
    """log(predicted / measured) of llmfit and LLM-Viewer."""
    device = load_devices().get(row.device)
    assert row.decode_tokens_per_s is not None
    if device is None:
        return None, None
    viewer = llm_viewer_tokens_per_s(row, device)
    return (
        log(llmfit_tokens_per_s(row, device) / row.decode_tokens_per_s),
        log(viewer / row.decode_tokens_per_s) if viewer else None,
    )


def _every(judged: Sequence[HeldOutPrediction]) -> list[str]:
    lines = [
        "| device | engine | model | measured | sizer | error | in range | llmfit | LLM-Viewer | source |",
        "|---|---|---|---:|---:|---:|---|---:|---:|---|",
    ]
    for j in judged:
        row, measured = j.row, j.row.decode_tokens_per_s or 0.0
        llmfit, viewer = (f"{measured * exp(e):.3g}" if e is not None else "" for e in _others(row))
        lines.append(
            f"| {row.device} | {row.runtime}, {row.backend} | {row.model} {row.format} | {measured:.4g} "
            f"| {j.predicted:.3g} | {exp(j.error) - 1:+.0%} | {'yes' if j.inside else 'no'} | {llmfit} "
            f"| {viewer} | {row.source.replace('|', '/')} |"
        )
    return lines


if __name__ == "__main__":
    print(latency_section())
