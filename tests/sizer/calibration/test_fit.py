"""The fit: closed forms recover known constants, held-out errors stay honest, the file on disk is current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import exp, log
from pathlib import Path
from statistics import median

import pytest

from sizer.calibration import fit
from sizer.calibration.choice import (
    SIMPLEST,
    SpeedModelTerms,
    choose_terms,
    fit_group,
    held_out_models,
    held_out_prompts,
)
from sizer.calibration.decode_terms import decode_constants
from sizer.calibration.held_out import unseen_measurements
from sizer.calibration.measurement_cells import MEASUREMENTS
from sizer.calibration.measurement_file import read_rows
from sizer.calibration.pools import call_seconds, drawn_layers, fit_pool, own_share, row_family
from sizer.calibration.regression import (
    Groups,
    MeasurementRow,
    conformal,
    conformal_of_groups,
    decode_rows,
    enough,
    error,
    fit_constants,
    geometric_mean,
    grouped,
    mape,
    shared_layer_seconds,
)
from sizer.calibration.unseen import prompt_error, unseen_devices
from sizer.devices.catalogue import load_devices
from sizer.devices.constants import family_pool, profiles, read_profile
from sizer.devices.device import Device, DeviceKind, Fact
from sizer.devices.profile import Profile
from sizer.devices.speed_model import ModelCosts
from sizer.errors import InvalidFile


def row(device: str, model: str, layers: int, num_bytes: float, tokens_per_s: float) -> MeasurementRow:
    found = ModelCosts(
        executed_layers=layers,
        step_bytes=num_bytes,
        bits_per_weight=4.5,
        block_weights=1,
        head_weights=1,
        attention_ops_per_position=1,
    )
    return MeasurementRow(
        device=device,
        runtime="llama.cpp",
        backend="cpu",
        model=model,
        costs=found,
        kv_bytes=0,
        prompt_tokens=128,
        decode_tokens_per_s=tokens_per_s,
        prefill_tokens_per_s=None,
        joules_per_token=None,
        load_s=None,
        storage_read_bytes_per_s=None,
        source="a test",
    )


def exact(device: str, layer_s: float, rate: float) -> list[MeasurementRow]:
    shapes = {"a": (30, 1e8), "b": (24, 4e8), "c": (16, 8e8), "d": (36, 2e9), "e": (32, 4e9)}
    return [row(device, m, n, b, 1 / (n * layer_s + b / rate)) for m, (n, b) in shapes.items()]


OWN = SpeedModelTerms(("bytes", "layers"), False)


@cache
def measured() -> tuple[Groups, Mapping[tuple[str, str], SpeedModelTerms]]:
    """The rows on file by device, and the decoding model of each engine: seconds of work, done once."""
    groups = grouped(decode_rows(read_rows()))
    return groups, choose_terms(groups)


def test_constants_behind_exact_rows_are_recovered() -> None:
    fast, slow = exact("fast", 2e-4, 4e10), exact("slow", 2e-4, 5e9)
    assert shared_layer_seconds([fast]) == pytest.approx(2e-4)
    assert shared_layer_seconds([fast, slow]) == pytest.approx(2e-4)
    fitted = fit_constants(slow, ("bytes", "layers"))
    assert fitted.seconds_per_layer == pytest.approx(2e-4)
    assert fitted.bytes_per_s == pytest.approx(5e9)
    groups = grouped(fast + slow)
    errors = held_out_models(groups, ("slow", "llama.cpp", "cpu"), OWN)
    assert max(abs(e) for e in errors) < 1e-6


def test_one_wrong_row_of_many_does_not_move_the_fit() -> None:
    rows = exact("board", 2e-4, 5e9)
    wrong = [*rows, row("board", "odd", 20, 1e9, 0.5 / (20 * 2e-4 + 1e9 / 5e9))]
    fitted = fit_constants(wrong, ("bytes", "layers"))
    assert fitted.seconds_per_layer == pytest.approx(2e-4, rel=0.1)
    assert fitted.bytes_per_s == pytest.approx(5e9, rel=0.02)


def test_no_cost_is_negative() -> None:
    # deep models faster than their bytes allow: the own cost of a layer would be negative
    odd = [row("odd", f"m{n}", n, 1e9, 5 + n / 10) for n in (10, 20, 30, 40, 50)]
    assert fit_constants(odd, ("bytes", "layers")).seconds_per_layer == 0
    groups = grouped(exact("fast", 2e-4, 4e10) + odd)
    assert fit_group(groups, ("odd", "llama.cpp", "cpu"), SIMPLEST).seconds_per_layer > 0


def test_the_simplest_model_is_kept_unless_another_is_better_on_unseen_models() -> None:
    groups = grouped(exact("fast", 2e-4, 4e10) + exact("slow", 2e-4, 5e9))
    assert choose_terms(groups)["llama.cpp", "cpu"] == SIMPLEST
    # two devices whose layers differ tenfold share no cost of a layer
    apart = grouped(exact("fast", 2e-3, 4e10) + exact("slow", 2e-4, 5e9))
    assert choose_terms(apart)["llama.cpp", "cpu"] == OWN


def test_groups_count_as_one_each_in_a_factor() -> None:
    # nine exact groups of one and one group of nine far off: eight in ten groups are exact
    errors = [[0.0]] * 9 + [[1.0] * 9]
    assert conformal_of_groups(errors) == 1
    assert conformal_of_groups(errors, coverage=0.95) == pytest.approx(exp(1))


@pytest.mark.parametrize(
    ("count", "rank"),
    [(4, 4), (5, 5), (8, 8), (9, 8), (14, 12), (19, 16)],  # ceil((n + 1) x 0.8), at most n
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
        if r.costs is not None:
            by_shape.setdefault(r.model, set()).add(r.costs.block_weights)
    assert all(len(weights) == 1 for weights in by_shape.values())


def test_bytes_read_of_a_published_file() -> None:
    # stratosphereips: Llama-3.2-1B Q4_K_M, 807718092 bytes with about 8 MB of tokenizer
    (found,) = {
        r.costs.step_bytes
        for r in decode_rows(read_rows())
        if r.key == ("raspberry-pi-5", "llama.cpp", "cpu")
        and r.model == "Llama-3.2-1B"
        and r.costs
        and r.costs.bits_per_weight < 8
    }
    assert found == pytest.approx(807_718_092 - 8e6, rel=0.005)


def test_a_bad_measurement_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    text = MEASUREMENTS.read_text(encoding="utf-8")
    path.write_text(text.replace("151936,24,896", "151936,many,896", 1), encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"m\.csv: measurement 1 \(Qwen2\.5-0\.5B\).*'many'"):
        read_rows(path)


# What each device's unseen models cost today (median), with a little room: these limits may only fall.
LIMITS = {
    ("raspberry-pi-5", "llama.cpp"): 0.07,
    ("raspberry-pi-4", "llama.cpp"): 0.05,
    ("core-i7-13700h", "llama.cpp"): 0.02,
    ("mac-studio-m2-ultra-cpu", "llama.cpp"): 0.07,
    ("mac-studio-m2-ultra-cpu", "bitnet.cpp"): 0.06,
    ("jetson-orin-nx", "llama.cpp"): 0.07,
    ("galaxy-s24-ultra", "litert"): 0.10,
    ("oneplus-12", "executorch"): 0.11,
    # whole tokens/s from one page, where the same shape and width differ by up to a third between two exports
    ("pixel-10", "executorch"): 0.20,
    ("iphone-se-3", "executorch"): 0.15,
}


def test_unseen_models_on_measured_devices() -> None:
    groups, choice = measured()
    found, inside = [], []
    for key, rows in groups.items():
        if len(rows) < 6 or not enough(rows):
            continue
        errors = held_out_models(groups, key, choice[rows[0].engine])
        misses = [abs(exp(e) - 1) for e in errors]
        assert median(misses) < LIMITS.get((key[0], key[1]), 0.2), key
        found += misses
        # each row against a range learned from the rows of other models
        for one, e in zip(rows, errors, strict=True):
            rest = [o for r, o in zip(rows, errors, strict=True) if r.model != one.model]
            inside.append(abs(e) <= log(conformal(rest)) + 1e-12)
    assert median(found) < 0.10
    assert 0.7 <= sum(inside) / len(inside) <= 0.9


def test_unseen_devices_from_their_sheet_alone() -> None:
    """Devices left out whole: half of them within 25 %, Macs and cards closer; ranges as promised."""
    unseen = unseen_devices(read_rows(), load_devices())
    sheet = [u for u in unseen if u.sheet]
    assert len(sheet) >= 40
    misses = {(u.device, u.family): median(abs(exp(e) - 1) for _, e in u.decode) for u in sheet}
    assert median(misses.values()) < 0.2
    assert median(m for (_, family), m in misses.items() if family in ("metal", "card")) < 0.08
    decode, prompts = unseen_measurements()
    for judged in (decode, prompts):
        of_device: dict[str, list[bool]] = {}
        for j in judged:
            of_device.setdefault(j.row.device, []).append(j.inside)
        held = [sum(inside) / len(inside) for inside in of_device.values()]
        assert 0.7 <= sum(held) / len(held) <= 0.95


def test_every_family_left_out_is_held_by_its_ranges() -> None:
    """Where little is known, ranges are as wide as that: no family of devices is held less than 60 %."""
    devices = load_devices()
    inside: dict[str, list[bool]] = {}
    for j in unseen_measurements()[0]:
        inside.setdefault(row_family(j.row, devices), []).append(j.inside)
    assert len(inside) >= 14
    assert {family: held for family, held in inside.items() if sum(held) < 0.6 * len(held)} == {}


def test_no_layer_is_free() -> None:
    """A family of devices whose rows do not show the cost of a layer has the least that engines show."""
    known = profiles()
    for family, runtime, _ in known.pools:
        pool = family_pool(family, runtime)
        assert pool is not None
        assert pool.seconds_per_layer > 1e-5, (family, runtime)
    for *label, block in known.blocks:
        profile = read_profile(block)
        assert max(profile.seconds_per_layer, profile.seconds_fixed, profile.kv_element_s) > 0, label


def test_few_rows_show_the_cost_of_a_layer() -> None:
    """Rows of two models that agree only with ten times the pool's cost of a layer get most of it."""
    rows = [
        row("phone", "deep", 30, 0.5e9, 1 / (30 * 4e-4 + 0.5e9 / 40e9)),
        row("phone", "wide", 30, 2e9, 1 / (30 * 4e-4 + 2e9 / 40e9)),
    ]
    pool = fit_pool([*exact("other", 4e-5, 40e9)], {}, "cpu", "")
    assert pool is not None
    rate, layer_s = drawn_layers(rows, pool._replace(seconds_per_layer=4e-5), None)
    assert 2e-4 < layer_s < 6e-4
    assert rate == pytest.approx(40e9, rel=0.15)
    # one model alone shows nothing of it
    assert drawn_layers(rows[:1], pool._replace(seconds_per_layer=4e-5), None)[1] == 4e-5


def test_models_of_nearly_one_size_do_not_show_the_cost_of_a_layer() -> None:
    """Noise between 0.44 and 0.61 GB would be all layers; a fourth of 2 GB tells them from bytes."""
    near = [
        row("board", m, n, b, s)
        for m, n, b, s in (("a", 24, 5e8, 14), ("b", 24, 4.4e8, 10), ("c", 28, 6.1e8, 11))
    ]
    found = fit_pool(near, {}, "cpu", "")
    assert found is not None
    assert found.seconds_per_layer == 0
    far = fit_pool([*near, row("board", "d", 24, 2e9, 9)], {}, "cpu", "")
    assert far is not None
    assert far.seconds_per_layer > 1e-3


def test_prompts_of_several_sizes_show_the_seconds_of_a_call() -> None:
    found = []
    for ops in (1e10, 4e10, 9e10):
        costs = row("npu", "a", 0, 1e8, 10.0).costs
        assert costs is not None
        costs = costs._replace(block_weights=int(ops / 256), head_weights=0, attention_ops_per_position=0)
        seconds = 0.2 + costs.prompt_ops(128) / 5e11
        one = replace(row("npu", f"m{ops}", 0, 1e8, 10.0), costs=costs, prompt_tokens=128, backend="rknpu")
        found.append(replace(one, prefill_tokens_per_s=128 / seconds))
    assert call_seconds(found, 0.0, 1.0) == pytest.approx(0.2, rel=1e-3)
    assert call_seconds(found[:1], 0.0, 1.0) is None


def test_a_pool_by_hand() -> None:
    """Two boards with 20 and 10 GB/s that reach 60 and 30 %: the middle is the geometric mean."""

    def board(name: str, bandwidth: float) -> Device:
        fact = Fact(bandwidth, "a test", "2026-11")
        return Device(name=name, title=name, kind=DeviceKind.BOARD, bandwidth_theoretical_bytes_per_s=fact)

    devices = {"fast": board("fast", 20e9), "slow": board("slow", 10e9)}
    rows = [*exact("fast", 0.0, 12e9), *exact("slow", 0.0, 3e9)]
    pool = fit_pool(rows, devices, "arm-board", "")
    assert pool is not None
    assert pool.efficiency == pytest.approx((0.6 * 0.3) ** 0.5, rel=0.02)
    assert pool.small_bytes_per_s == pytest.approx(6e9, rel=0.02)
    assert fit_pool(rows, devices, "arm-board", "mlx") is None
    # a device's own rows count the more of them there are, and the more devices of a pool differ
    few, many = rows[:1], rows[:5]
    assert own_share(few, 0.1) < own_share(many, 0.1) < own_share(many, 0.5) < 1


def prompted(device: str, rates: Mapping[str, float]) -> list[MeasurementRow]:
    """Rows of exact decoding (1 GB/s, layers free) and a prompt of 100 tokens at that many operations/s."""
    found = []
    for model, rate in rates.items():
        costs = row(device, model, 10, 1e8, 10.0).costs
        assert costs is not None
        costs = costs._replace(block_weights=10_000_000, attention_ops_per_position=0)
        plain = replace(row(device, model, 10, 1e8, 10.0), costs=costs, prompt_tokens=100)
        found.append(replace(plain, prefill_tokens_per_s=100 * rate / costs.prompt_ops(100)))
    return found


def test_a_prompt_is_predicted_from_the_other_models_of_its_device() -> None:
    rows = prompted("board", {"a": 4e9, "b": 4e9, "c": 1e9})
    key = rows[0].key
    errors = held_out_prompts(rows, grouped(decode_rows(rows)), key, OWN, {})
    # "c" at 4e9 instead of 1e9, drawn to the pool of these rows; "a" and "b" near the middle of 4e9 and 1e9
    assert errors[0] == errors[1]
    assert errors[0] is not None
    assert errors[2] is not None
    assert log(0.5) - 0.1 < errors[0] < log(0.5) + 0.3
    assert log(4) - 0.3 < errors[2] < log(4) + 0.1
    # of one model, nothing is left
    assert held_out_prompts(rows[:1], grouped(rows[:1]), key, OWN, {}) == [None]


def test_the_error_of_a_prompt_counts_layers_calls_and_the_reading_of_weights() -> None:
    (one,) = prompted("board", {"a": 4e9})

    def constants(call_s: float = 0.0, **seconds: float) -> Profile:
        found = decode_constants({"bytes": 1e-9, **seconds}, runtime="llama.cpp", backend="cpu")
        return found._replace(ops_per_s=4e9, prompt_fixed_s=call_s)

    assert prompt_error(one, constants()) == pytest.approx(0)
    # 0.5 s of operations; ten layers of 50 ms make it a second, and so does a call of half a one
    assert prompt_error(one, constants(layers=0.05)) == pytest.approx(log(0.5), abs=1e-6)
    assert prompt_error(one, constants(call_s=0.5)) == pytest.approx(log(0.5), abs=1e-6)
    # 0.1 GB at 0.05 GB/s: two seconds instead of half a one
    assert prompt_error(one, constants(bytes=2e-8)) == pytest.approx(log(0.25), abs=1e-6)


def test_a_layer_cost_is_worth_having() -> None:
    # 350M to 30B on one machine: bytes alone cannot follow it
    groups, _ = measured()
    key = ("mac-studio-m2-ultra-cpu", "llama.cpp", "cpu")
    with_layers = mape(held_out_models(groups, key, OWN))
    alone = fit_constants(groups[key], ("bytes",))
    bytes_only = mape(error(alone, row) for row in groups[key])
    assert with_layers < bytes_only / 3


def test_the_profiles_on_file_are_what_the_measurements_give(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert fit.main(["--check"]) == 0
    other = tmp_path / "profiles.toml"
    monkeypatch.setattr(fit, "PROFILES", other)
    assert fit.main(["--check"]) == 1
    assert "run python -m sizer.calibration.fit" in capsys.readouterr().err
    assert fit.main([]) == 0
    assert fit.main(["--check"]) == 0
    other.write_text(other.read_text(encoding="utf-8") + "# typed\n", encoding="utf-8")
    assert fit.main(["--check"]) == 1
