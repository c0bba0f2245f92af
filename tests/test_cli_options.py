"""What `sizer estimate` can be asked besides a size: engines, training, pruning, how weights are held."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

import cli


def test_weights_in_memory_by_option_and_by_batch_key(sizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ("estimate", "SmolLM2-135M", "--format", "Q4_0", "--json")
    mapped = json.loads(sizer(*line).out)["memory"]["weights_bytes"]
    repacked = json.loads(sizer(*line, "--weights-in-memory", "Repacked-ARM").out)["memory"]["weights_bytes"]
    assert repacked - mapped == 49152 * 576 // 32 * 34  # the tied table, in Q8_0, once more
    request = {"model": "SmolLM2-135M", "format": "Q4_0", "weights_in_memory": "repacked-arm"}
    wrong = [{**request, "weights_in_memory": value} for value in ("held", 3)]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(json.dumps(r) for r in (request, *wrong))))
    answers = [json.loads(text) for text in sizer("estimate", "--batch", "-").out.splitlines()]
    assert answers[0]["memory"]["weights_bytes"] == repacked
    for answer, value in zip(answers[1:], ("held", "3"), strict=True):
        assert f"unknown weights_in_memory '{value}'; known: loaded, mapped" in answer["error"]


def test_every_option_of_tokens_takes_k(sizer: Any) -> None:
    words = ("--context", "8k", "--prompt", "2k", "--generate", "1k", "--ubatch", "1k", "--json")
    numbers = ("--context", "8192", "--prompt", "2048", "--generate", "1024", "--ubatch", "1024", "--json")
    assert sizer("estimate", "SmolLM2-135M", *words).json == sizer("estimate", "SmolLM2-135M", *numbers).json
    step = sizer("estimate", "SmolLM2-135M", "--training", "--sequence-length", "1k", "--json").json[
        "training"
    ]
    assert step["sequence_length"] == 1024
    for command in (("estimate", "SmolLM2-135M", "--prompt"), ("export", "none", "1", "--context")):
        refused = sizer(*command, "4kb")
        assert refused.code == 2
        assert f"Invalid value for '{command[-1]}': cannot read '4kb'; accepted: whole tokens" in refused.err


def test_training_is_said_when_asked_for(sizer: Any) -> None:
    plain = sizer("estimate", "SmolLM2-135M", "--json").json
    assert "training" not in plain
    asked = sizer("estimate", "SmolLM2-135M", "--json", "--training", "--sequence-length", "64").json
    step = asked.pop("training")
    assert asked == plain
    assert (step["method"], step["sequence_length"], step["trainable_parameters"]) == (
        "full",
        64,
        134_515_008,
    )
    parts = [
        size for key, size in step.items() if key.endswith("_bytes") and key[:5] not in ("total", "budge")
    ]
    assert step["total_bytes"] == sum(parts)
    assert (step["budget_bytes"], step["fits"]) == (None, None)


@pytest.mark.parametrize("four_bits", [("--bits", "4"), ("--format", "nf4")])
def test_four_bits_with_adapters_is_qlora(sizer: Any, four_bits: tuple[str, str]) -> None:
    step = sizer("estimate", "SmolLM2-135M", "--lora-rank", "8", *four_bits, "--json").json["training"]
    assert (step["method"], step["lora_targets"]) == ("qlora", ["q_proj", "v_proj"])
    assert step["weights_bytes"] < 2 * 134_515_008
    ran = sizer("estimate", "SmolLM2-135M", "--lora-rank", "8", *four_bits, "--lora-targets", "attention")
    assert "QLoRA, rank 8, on q_proj, k_proj," in ran.out
    whole = sizer("estimate", "SmolLM2-135M", "--lora-rank", "8", "--json").json["training"]
    assert (whole["method"], whole["weights_bytes"]) == ("lora", 2 * 134_515_008)


def test_a_training_step_that_does_not_fit_does_not_change_the_exit_code(sizer: Any) -> None:
    ran = sizer("estimate", "SmolLM2-135M", "--training", "--device", "raspberry-pi-5-4gb")
    assert ran.code == 0
    training = ran.out.split("Training, ")[1]
    assert training.splitlines()[0].split() == ["1", "x", "2,048", "tokens,", "amp,", "adamw", "bytes"]
    assert "too much for 3.4 GiB" in training
    kept = sizer("estimate", "SmolLM2-135M", "--training", "--checkpointing", "--device", "raspberry-pi-5")
    assert "fits in 6.8 GiB" in kept.out.split("Training, ")[1]


def test_a_batch_line_can_ask_for_training(sizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"model": "SmolLM2-135M", "training": True, "sequence_length": 64, "precision": "fp32"},
        {"model": "SmolLM2-135M", "lora_rank": 8, "lora_targets": "all-linear", "checkpointing": True},
        {"model": "SmolLM2-135M", "training": False},
        {"model": "SmolLM2-135M", "training": "yes"},
        {"model": "SmolLM2-135M", "lora_rank": "8"},
        {"model": "SmolLM2-135M", "lora_rank": 8, "lora_targets": ["q_proj"]},
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(json.dumps, lines))))
    ran = sizer("estimate", "--batch", "-")
    full, lora, none, *wrong = (json.loads(line) for line in ran.out.splitlines())
    assert (full["training"]["precision"], full["training"]["sequence_length"]) == ("fp32", 64)
    assert (len(lora["training"]["lora_targets"]), lora["training"]["checkpointing"]) == (7, True)
    assert "training" not in none
    assert [line["error"].split(":")[0] for line in wrong] == ["training", "lora_rank", "lora_targets"]


@pytest.mark.parametrize(
    ("engine", "format"),
    [
        ("mlx", "4bit"),
        ("transformers", "nf4"),
        ("transformers.js", "q4"),
        ("web-llm", "q4f16_1"),
        ("litert-lm", "dynamic_int4_block32"),
    ],
)
def test_bits_mean_the_customary_format_of_the_runtime(sizer: Any, engine: str, format: str) -> None:
    document = sizer("estimate", "SmolLM2-135M", "--bits", "4", "--runtime", engine, "--json").json
    assert document["weights"]["format"] == format
    assert f"4 bits means {engine}'s customary {format}" in document["assumptions"]


def test_pruning_says_what_it_saves(sizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = sizer("estimate", "SmolLM2-135M", "--json").json
    zeros = sizer("estimate", "SmolLM2-135M", "--sparsity", "0.5", "--json").json
    assert zeros["weights"] == plain["weights"]
    assert (zeros["sparsity"]["pattern"], zeros["sparsity"]["zero_weights"]) == ("unstructured", 53_084_160)
    assert "stores a zero like any other weight" in zeros["assumptions"][0]
    smaller = sizer(
        "estimate", "SmolLM2-135M", "--sparsity", "0.5", "--sparsity-pattern", "structured", "--json"
    ).json
    saved = plain["weights"]["file_bytes"] - smaller["weights"]["file_bytes"]
    assert smaller["sparsity"]["file_bytes_saved"] == saved > 0
    line = '{"model": "SmolLM2-135M", "sparsity": 0.5, "sparsity_pattern": "structured"}'
    monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))
    batch = sizer("estimate", "--batch", "-").json
    assert batch["sparsity"] == smaller["sparsity"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sparsity", "1.5"), "sparsity: must be above 0 and below 1, got 1.5"),
        (("--sparsity", "0.4", "--sparsity-pattern", "2:4"), "sparsity: 2:4 prunes half of the weights"),
        (
            ("--sparsity", "0.5", "--sparsity-pattern", "odd"),
            "sparsity_pattern: unknown value 'odd'; accepted",
        ),
        (("--sparsity-pattern", "2:4"), "sparsity_pattern: chooses how to prune; give sparsity with it"),
    ],
)
def test_bad_pruning_is_one_line(sizer: Any, options: tuple[str, ...], message: str) -> None:
    result = sizer("estimate", "SmolLM2-135M", *options)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith(f"error: {message}")


def test_a_table_has_the_peak_and_the_download(sizer: Any) -> None:
    app = ("estimate", "SmolLM2-135M", "--bits", "4", "--device", "galaxy-s24")
    phone = sizer(*app).out
    assert "Download" in phone
    assert "Mbit/s" in phone
    assert "Download" not in sizer("estimate", "SmolLM2-135M", "--bits", "4").out
    mlx = ("estimate", "SmolLM2-135M", "--bits", "4", "--runtime", "mlx", "--prompt", "1024")
    document = sizer(*mlx, "--json").json
    peak = document["memory"]["peak_bytes"]
    assert document["memory"]["total_bytes"] < peak["value"] < peak["high"]
    assert f"peak of the process {peak['value']:,}" in " ".join(sizer(*mlx).out.split())


def test_a_hint_names_only_dtypes_of_the_runtime(sizer: Any) -> None:
    asked = ("estimate", "SmolLM2-135M", "--runtime", "transformers.js", "--format")
    assert sizer(*asked, "q8", "--json").json["weights"]["format"] == "q8"
    wrong = sizer(*asked, "q8x")
    assert (wrong.code, wrong.err.count("\n"), "q8f16" in wrong.err) == (2, 1, False)


@pytest.mark.parametrize(
    "engine", ["executorch", "litert-lm", "mlx", "transformers", "transformers.js", "web-llm"]
)
def test_solve_and_compare_take_each_runtimes_own_cache(sizer: Any, engine: str) -> None:
    compared = sizer("compare", "SmolLM2-135M", "--runtime", engine, "--bits", "4", "--json")
    assert compared.code == 0
    assert compared.json["estimates"][0]["weights"]["runtime"] == engine
    solved = sizer("solve", "--max-size", "40MB", "--runtime", engine, "--bits", "4", "--top", "2", "--json")
    assert [e["weights"]["file_bytes"] <= 40_000_000 for e in solved.json["estimates"]] == [True, True]


def test_advice_says_what_binds(sizer: Any) -> None:
    asked = ("estimate", "SmolLM2-135M", "--format", "Q4_K_M", "--device", "raspberry-pi-5", "--advice")
    document = sizer(*asked, "--json").json
    step = document["decode_step"]
    seconds = sum(value for key, value in step.items() if key != "binds")
    assert seconds == pytest.approx(1 / document["latency"]["decode_at_start_tokens_per_s"]["value"])
    assert (step["binds"], document["prompt_waits_for"]) == ("weights", "arithmetic")
    full = document["decode_step_at_full_context"]
    assert full["kv_cache_s"] > step["kv_cache_s"]
    assert "Largest part of a decoding step: reading weights, " in sizer(*asked).out
    without = sizer("estimate", "SmolLM2-135M", "--format", "Q4_K_M", "--advice", "--json").json
    assert without["decode_step"] is without["prompt_waits_for"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["estimate", "Qwen3-4B", "--device", "galaxy-s24", "--draft", "Qwen3-0.6B", "--advice"],
        ["estimate", "gemma-3n-E2B", "--runtime", "mlx"],
        ["devices"],
        ["formats"],
    ],
    ids=str,
)
def test_pages_fit_the_columns_that_the_terminal_has(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(arguments) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80
    monkeypatch.setenv("COLUMNS", "none")
    assert cli.main(arguments) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) > 80
