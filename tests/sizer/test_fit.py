"""The fit: closed forms recover known constants, held-out errors stay honest, the file on disk is current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import exp, log
from pathlib import Path
from statistics import median

import pytest

from sizer.device import load_devices
from sizer.errors import InvalidFile
from sizer.latency import Work
from sizer.measure import fit
from sizer.measure.choice import (
    CANDIDATES,
    SIMPLEST,
    Chosen,
    choose_features,
    fit_group,
    held_out_devices,
    held_out_models,
    held_out_prefill,
    prefill_error,
)
from sizer.measure.regression import (
    MEASUREMENTS,
    Groups,
    Row,
    conformal,
    conformal_of_groups,
    decode_rows,
    enough,
    error,
    fit_costs,
    geometric_mean,
    grouped,
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
        backend="cpu",
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


OWN = Chosen(("bytes", "layers"), False)


@cache
def measured() -> tuple[Groups, Mapping[tuple[str, str], Chosen]]:
    """The rows on file by device, and the decoding model of each engine: seconds of work, done once."""
    groups = grouped(decode_rows(read_rows()))
    return groups, choose_features(groups)


def test_constants_behind_exact_rows_are_recovered() -> None:
    fast, slow = exact("fast", 2e-4, 4e10), exact("slow", 2e-4, 5e9)
    assert shared_layer_seconds([fast]) == pytest.approx(2e-4)
    assert shared_layer_seconds([fast, slow]) == pytest.approx(2e-4)
    costs = fit_costs(slow, ("bytes", "layers"))
    assert costs["layers"] == pytest.approx(2e-4)
    assert 1 / costs["bytes"] == pytest.approx(5e9)
    groups = grouped(fast + slow)
    errors = held_out_models(groups, ("slow", "llama.cpp", "cpu"), OWN)
    assert max(abs(e) for e in errors) < 1e-6


def test_one_wrong_row_of_many_does_not_move_the_fit() -> None:
    rows = exact("board", 2e-4, 5e9)
    wrong = [*rows, row("board", "odd", 20, 1e9, 0.5 / (20 * 2e-4 + 1e9 / 5e9))]
    costs = fit_costs(wrong, ("bytes", "layers"))
    assert costs["layers"] == pytest.approx(2e-4, rel=0.1)
    assert 1 / costs["bytes"] == pytest.approx(5e9, rel=0.02)


def test_no_cost_is_negative() -> None:
    # deep models faster than their bytes allow: the own cost of a layer would be negative
    odd = [row("odd", f"m{n}", n, 1e9, 5 + n / 10) for n in (10, 20, 30, 40, 50)]
    assert fit_costs(odd, ("bytes", "layers"))["layers"] == 0
    groups = grouped(exact("fast", 2e-4, 4e10) + odd)
    assert fit_group(groups, ("odd", "llama.cpp", "cpu"), SIMPLEST)["layers"] > 0


def test_the_simplest_model_is_kept_unless_another_is_better_on_unseen_models() -> None:
    groups = grouped(exact("fast", 2e-4, 4e10) + exact("slow", 2e-4, 5e9))
    assert choose_features(groups)["llama.cpp", "cpu"] == SIMPLEST
    # two devices whose layers differ tenfold share no cost of a layer
    apart = grouped(exact("fast", 2e-3, 4e10) + exact("slow", 2e-4, 5e9))
    assert choose_features(apart)["llama.cpp", "cpu"] == OWN


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
        if r.work is not None:
            by_shape.setdefault(r.model, set()).add(r.work.block_weights)
    assert all(len(weights) == 1 for weights in by_shape.values())


def test_bytes_read_of_a_published_file() -> None:
    # stratosphereips: Llama-3.2-1B Q4_K_M, 807718092 bytes with about 8 MB of tokenizer
    (found,) = {
        r.work.step_bytes
        for r in decode_rows(read_rows())
        if r.key == ("raspberry-pi-5", "llama.cpp", "cpu")
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


# What each device's unseen models cost today (median), with a little room: these limits may only fall.
LIMITS = {
    ("raspberry-pi-5", "llama.cpp"): 0.07,
    ("raspberry-pi-4", "llama.cpp"): 0.05,
    ("core-i7-13700h", "llama.cpp"): 0.02,
    ("mac-studio-m2-ultra-cpu", "llama.cpp"): 0.05,
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
        assert median(misses) < LIMITS[key[0], key[1]], key
        found += misses
        # each row against a range learned from the rows of other models
        for one, e in zip(rows, errors, strict=True):
            rest = [o for r, o in zip(rows, errors, strict=True) if r.model != one.model]
            inside.append(abs(e) <= log(conformal(rest)) + 1e-12)
    assert median(found) < 0.10
    assert 0.7 <= sum(inside) / len(inside) <= 0.9


@pytest.mark.parametrize(("kind", "limit"), [("cpu", 0.40), ("gpu", 0.15)])
def test_unseen_devices_from_their_sheet_alone(kind: str, limit: float) -> None:
    errors, _ = held_out_devices(read_rows(), load_devices(), kind)
    assert len(errors) >= 6
    flat = [abs(exp(e) - 1) for found in errors.values() for _, e in found]
    assert median(flat) < limit
    inside = []
    for name, found in errors.items():
        rest = [[e for _, e in rows] for other, rows in errors.items() if other != name]
        factor = conformal_of_groups(rest)
        inside.append(sum(abs(e) <= log(factor) for _, e in found) / len(found))
    assert 0.7 <= sum(inside) / len(inside) <= 0.92


def prompted(device: str, rates: Mapping[str, float]) -> list[Row]:
    """Rows of exact decoding (1 GB/s, layers free) and a prompt of 100 tokens at that many operations/s."""
    found = []
    for model, rate in rates.items():
        work = row(device, model, 10, 1e8, 10.0).work
        assert work is not None
        work = work._replace(block_weights=10_000_000, attention_ops_per_position=0)
        plain = replace(row(device, model, 10, 1e8, 10.0), work=work, prompt_tokens=100)
        found.append(replace(plain, prefill_tokens_per_s=100 * rate / work.prompt_ops(100)))
    return found


def test_a_prompt_is_predicted_from_the_other_models_of_its_device() -> None:
    rows = prompted("board", {"a": 4e9, "b": 4e9, "c": 1e9})
    key = rows[0].key
    errors = held_out_prefill(rows, grouped(decode_rows(rows)), key, OWN)
    # "c" at 4e9 instead of 1e9; "a" and "b" at the geometric middle of 4e9 and 1e9 instead of 4e9
    assert errors == pytest.approx([log(0.5), log(0.5), log(4)], rel=1e-6)
    # decoding is known from the others, too: "b" reads its weights a hundred times slower than "a"
    two = prompted("board", {"a": 4e9, "b": 4e9})
    two[1] = replace(two[1], decode_tokens_per_s=0.1)
    errors = held_out_prefill(two, grouped(decode_rows(two)), key, OWN)
    assert errors == pytest.approx([log(0.5 / 10), 0.0], abs=1e-6)
    # of one model, nothing is left
    assert held_out_prefill(rows[:1], grouped(rows[:1]), key, OWN) == [None]


def test_the_error_of_a_prompt_counts_layers_and_the_reading_of_weights() -> None:
    (one,) = prompted("board", {"a": 4e9})
    assert prefill_error(one, {"bytes": 1e-9}, 4e9) == pytest.approx(0)
    # 0.5 s of operations; ten layers of 50 ms make it a second
    assert prefill_error(one, {"bytes": 1e-9, "layers": 0.05}, 4e9) == pytest.approx(log(0.5), abs=1e-6)
    # 0.1 GB at 0.05 GB/s: two seconds instead of half a one
    assert prefill_error(one, {"bytes": 2e-8}, 4e9) == pytest.approx(log(0.25), abs=1e-6)


def test_prompts_of_unseen_devices_lie_in_their_range_as_often_as_promised() -> None:
    inside: list[float] = []
    for kind in ("cpu", "gpu"):
        _, errors = held_out_devices(read_rows(), load_devices(), kind)
        for name, found in errors.items():
            rest = [[e for _, e in rows] for other, rows in errors.items() if other != name]
            limit = log(conformal_of_groups(rest))
            inside.append(sum(abs(e) <= limit for _, e in found) / len(found))
    assert 0.7 <= sum(inside) / len(inside) <= 0.92


def test_a_layer_cost_is_worth_having() -> None:
    # 350M to 30B on one machine: bytes alone cannot follow it
    groups, _ = measured()
    key = ("mac-studio-m2-ultra-cpu", "llama.cpp", "cpu")
    with_layers = mape(held_out_models(groups, key, OWN))
    alone = fit_costs(groups[key], ("bytes",))
    bytes_only = mape(error(alone, row) for row in groups[key])
    assert with_layers < bytes_only / 3


def test_fallback_types_have_no_cost_of_their_own_while_the_rows_do_not_say_so() -> None:
    choice = set(measured()[1].values())
    assert choice <= set(CANDIDATES)
    assert any("fallback_bytes" in candidate.features for candidate in CANDIDATES)
    assert not any("fallback_bytes" in chosen.features for chosen in choice)


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
