"""The fit: closed forms recover known constants, held-out errors stay honest, the file on disk is current."""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import pytest

from sizer.device import load_devices
from sizer.errors import InvalidFile
from sizer.latency import Work
from sizer.measure import fit
from sizer.measure.regression import (
    MEASUREMENTS,
    Row,
    bytes_per_s,
    conformal,
    decode_rows,
    fit_decode,
    geometric_mean,
    grouped,
    held_out_devices,
    held_out_models,
    mape,
    read_rows,
    shared_layer_seconds,
)


def row(device: str, model: str, layers: int, num_bytes: float, tokens_per_s: float) -> Row:
    found = Work(
        executed_layers=layers,
        step_bytes=num_bytes,
        bits_per_weight=4.5,
        block_weights=1,
        head_weights=1,
        attention_ops_per_position=1,
    )
    return Row(
        device=device,
        runtime="llama.cpp",
        model=model,
        work=found,
        kv_bytes=0,
        prompt_tokens=128,
        decode_tokens_per_s=tokens_per_s,
        prefill_tokens_per_s=None,
        joules_per_token=None,
        load_s=None,
        storage_read_bytes_per_s=None,
        source="a test",
    )


def exact(device: str, layer_s: float, rate: float) -> list[Row]:
    shapes = {"a": (30, 1e8), "b": (24, 4e8), "c": (16, 8e8), "d": (36, 2e9), "e": (32, 4e9)}
    return [row(device, m, n, b, 1 / (n * layer_s + b / rate)) for m, (n, b) in shapes.items()]


def test_constants_behind_exact_rows_are_recovered() -> None:
    fast, slow = exact("fast", 2e-4, 4e10), exact("slow", 2e-4, 5e9)
    assert shared_layer_seconds([fast]) == pytest.approx(2e-4)
    assert shared_layer_seconds([fast, slow]) == pytest.approx(2e-4)
    assert bytes_per_s(slow, 2e-4) == pytest.approx(5e9)
    groups = grouped(fast + slow)
    errors = held_out_models(groups, ("slow", "llama.cpp"), own_layer=True)
    assert max(abs(e) for e in errors) < 1e-9


def test_rows_that_deny_a_layer_cost_fall_back_on_the_runtimes() -> None:
    # deep models faster than their bytes allow: the own cost would be negative
    odd = [row("odd", f"m{n}", n, 1e9, 5 + n / 10) for n in (10, 20, 30, 40, 50)]
    groups = grouped(exact("fast", 2e-4, 4e10) + odd)
    assert shared_layer_seconds([odd]) == 0
    assert fit_decode(groups, ("odd", "llama.cpp"), own_layer=True).seconds_per_layer > 0


@pytest.mark.parametrize(
    ("count", "rank"),
    [(5, 5), (8, 8), (9, 9), (10, 10), (19, 18), (29, 27)],  # ceil((n + 1) x 0.9), at most n
)
def test_the_conformal_factor_by_hand(count: int, rank: int) -> None:
    errors = [-log(k) if k % 2 else log(k) for k in range(count, 0, -1)]
    assert conformal(errors) == pytest.approx(rank)


def test_means_by_hand() -> None:
    assert geometric_mean([1, 100]) == pytest.approx(10)
    assert mape([log(1.1), log(0.7)]) == pytest.approx(0.2)


def test_the_rows_on_file_are_whole() -> None:
    rows = read_rows()
    assert len(decode_rows(rows)) > 80
    assert all(r.source for r in rows)
    by_shape: dict[str, set[int]] = {}
    for r in rows:
        if r.work is not None:
            by_shape.setdefault(r.model, set()).add(r.work.block_weights)
    assert all(len(weights) == 1 for weights in by_shape.values())


def test_bytes_read_of_a_published_file() -> None:
    # stratosphereips: Llama-3.2-1B Q4_K_M, 807718092 bytes with about 8 MB of tokenizer
    (found,) = {
        r.work.step_bytes
        for r in decode_rows(read_rows())
        if r.key == ("raspberry-pi-5", "llama.cpp")
        and r.model == "Llama-3.2-1B"
        and r.work
        and r.work.bits_per_weight < 8
    }
    assert found == pytest.approx(807_718_092 - 8e6, rel=0.005)


def test_a_bad_measurement_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    text = MEASUREMENTS.read_text(encoding="utf-8")
    path.write_text(text.replace("151936,24,896", "151936,many,896", 1), encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"m\.csv: measurement 1 \(Qwen2\.5-0\.5B\).*'many'"):
        read_rows(path)


# What each device's unseen models cost today, with a little room: these limits may only fall.
@pytest.mark.parametrize(
    ("device", "runtime", "own_layer", "limit"),
    [
        ("raspberry-pi-5", "llama.cpp", False, 0.12),
        ("raspberry-pi-4", "llama.cpp", False, 0.04),
        ("core-i7-13700h", "llama.cpp", True, 0.03),
        ("mac-studio-m2-ultra", "llama.cpp", True, 0.05),
        ("galaxy-s24-ultra", "litert", False, 0.15),
        ("oneplus-12", "executorch", False, 0.27),
        ("pixel-10", "executorch", True, 0.21),
        ("iphone-se-3", "executorch", True, 0.24),
    ],
)
def test_unseen_models_on_a_measured_device(device: str, runtime: str, own_layer: bool, limit: float) -> None:
    groups = grouped(decode_rows(read_rows()))
    errors = held_out_models(groups, (device, runtime), own_layer=own_layer)
    assert mape(errors) < limit
    # a factor from these errors must span nine in ten of them
    assert sum(abs(e) <= log(conformal(errors)) + 1e-12 for e in errors) >= 0.9 * len(errors)


def test_unseen_devices_from_their_sheet_alone() -> None:
    errors, _ = held_out_devices(read_rows(), load_devices())
    flat = [e for found in errors.values() for e in found]
    assert len(errors) >= 6
    assert mape(flat) < 0.35
    assert exp(max(abs(e) for e in flat)) < 2.25


def test_a_layer_cost_is_worth_having() -> None:
    # 350M to 30B on one machine: bytes alone cannot follow it
    groups = grouped(decode_rows(read_rows()))
    rows = groups["mac-studio-m2-ultra", "llama.cpp"]
    with_layers = mape(held_out_models(groups, rows[0].key, own_layer=True))
    rate = bytes_per_s(rows, 0.0)
    bytes_only = mape(-log(r.decode_bytes / rate * (r.decode_tokens_per_s or 1)) for r in rows)
    assert with_layers < bytes_only / 3


def test_the_profiles_on_file_are_what_the_measurements_give(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert fit.main(["--check"]) == 0
    other = tmp_path / "profiles.toml"
    monkeypatch.setattr(fit, "PROFILES", other)
    assert fit.main(["--check"]) == 1
    assert "run python -m sizer.measure.fit" in capsys.readouterr().err
    assert fit.main([]) == 0
    assert fit.main(["--check"]) == 0
    other.write_text(other.read_text(encoding="utf-8") + "# typed\n", encoding="utf-8")
    assert fit.main(["--check"]) == 1
