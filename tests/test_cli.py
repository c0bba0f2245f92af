"""The command line: contract keys, exit codes, one-line errors, help with examples."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import cli
from sizer import __version__
from tests.sizer.families.test_hf_config import LLAMA
from tests.sizer.test_model_estimate import CONTRACT


def test_the_readmes_first_command(sizer: Any) -> None:
    ran = sizer("estimate", "--params", "125M", "--bits", "4", "--device", "raspberry-pi-5")
    assert ran.code == 0
    assert ran.err == ""
    for text in ("123,905,536", "Q4_K_M", "79.69 MB", "tokens/s", "-0.88% from 125M"):
        assert text in ran.out


def test_json_is_the_contract_and_nothing_else(sizer: Any) -> None:
    ran = sizer("estimate", "--params", "125M", "--bits", "4", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["schema"] == "sizer.estimate/1"
    for part, keys in CONTRACT.items():
        assert set(keys.split()) <= set(ran.json[part])


def test_a_model_by_name_by_config_and_by_hand_is_one_model(sizer: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    shape = "--num-layers 22 --hidden-size 2048 --num-heads 32 --num-kv-heads 4 --intermediate-size 5632"
    ways = [
        ("TinyLlama-1.1B",),
        ("--config", "config.json"),
        (str(tmp_path),),
        (*shape.split(), "--no-tie-embeddings"),
    ]
    counts = {sizer("estimate", *way, "--json").json["parameters"]["total"] for way in ways}
    assert counts == {1_100_048_384}


def test_options_change_a_named_model(sizer: Any) -> None:
    ran = sizer("estimate", "MobileLLM-125M", "--sharing", "immediate", "--json")
    shape = ran.json["architecture"]
    assert (shape["num_layers"], shape["executed_layers"]) == (30, 60)
    assert shape["sharing"] == {"strategy": "immediate", "repeat": 2}


def test_what_does_not_fit_exits_with_one(sizer: Any) -> None:
    ran = sizer("estimate", "Llama-2-7B", "--bits", "16", "--device", "iphone-15-pro", "--json")
    assert ran.code == 1
    assert ran.json["memory"]["fits"] is False


def test_a_count_no_decoder_has_exits_with_one(sizer: Any) -> None:
    ran = sizer("estimate", "--params", "1M")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: params: 1M is below the smallest decoder")


BAD = [
    ("estimate --params banana", "params: cannot read 'banana'; accepted: a number with K, M, B or T"),
    ("estimate --params -5M", "params: cannot read '-5M'"),
    ("estimate", "model: nothing to size; give MODEL, --params 125M, --config PATH or a shape"),
    ("estimate MobileLM-125M", "'MobileLM-125M'; did you mean MobileLLM-125M"),
    ("estimate MobileLLM-125M --params 125M", "model: give one of MODEL, --params and --config"),
    ("estimate 350M", "model: '350M' is a number of parameters and no model; accepted: --params 350M"),
    ("estimate --params 125M --bits 70", "bits: 70 is no number of bits a weight; accepted: 1 to 32"),
    ("estimate --params 125M --bits four", "'--bits': 'four' is not a valid float"),
    ("estimate --params 125M --format Q9_K", "unknown llama.cpp format 'Q9_K'"),
    ("estimate --params 125M --bits 4 --format Q8_0", "bits: give --bits or --format"),
    ("estimate --params 125M --device toaster", "unknown device 'toaster'"),
    ("estimate --params 125M --runtime vllm", "unknown runtime 'vllm'"),
    ("estimate --params 125M --context 0", "context_tokens must be a whole number"),
    ("estimate --params 125M --prompt 4000", "context_tokens: prompt 4000 + generated 128 tokens do not fit"),
    ("estimate --params 125M --cache-type q8", "unknown cache type 'Q8'"),
    (
        "estimate --params 125M --num-layers 3",
        "params: chooses the shape itself, so num_layers cannot be given",
    ),
    ("estimate --params 125M --repeat 2", "repeat: 2 needs --sharing"),
    ("estimate --params 125M --sharing twice", "sharing: unknown value 'twice'"),
    (
        "estimate --num-layers 2 --hidden-size 576 --num-heads 9 --num-kv-heads 2",
        "num_heads must be a multiple of num_kv_heads, got num_heads 9 and num_kv_heads 2",
    ),
    (
        "estimate --num-layers 2 --hidden-size 100 --num-heads 9",
        "head_dim: hidden_size 100 is not a multiple",
    ),
    ("estimate --num-layers 2 --hidden-size 64 --num-heads 0", "head_dim: hidden_size 64 is not a multiple"),
    ("estimate --config none.json", "model: cannot read 'none.json': No such file or directory"),
    ("estimate --batch none.jsonl", "batch: cannot read 'none.jsonl'"),
    ("estimate SmolLM2-135M --checkpointing", "checkpointing: is about training; give training or lora_rank"),
    ("estimate SmolLM2-135M --lora-rank 8 --bits 8", "bits: adapters are trained on 4-bit (NF4) or 16-bit"),
    ("estimate SmolLM2-135M --lora-rank 0", "lora_rank: must be a whole number from 1 to 65536, got 0"),
    ("estimate SmolLM2-135M --training --precision fp8", "precision: unknown value 'fp8'; accepted: fp32"),
    ("estimate SmolLM2-135M --training --optimizer lion", "optimizer: unknown value 'lion'; accepted: adamw"),
    ("estimate SmolLM2-135M --training --lora-targets q_proj", "lora_rank: missing; lora_targets is for"),
    ("estimate --bananas", "No such option: --bananas"),
    ("solve", "budget: give --max-size, --max-memory or a --device"),
    ("solve --max-size 60MB --top 0", "--top"),
    ("compare", "Missing argument 'MODEL...'"),
    ("compare GPT-9", "'GPT-9'"),
    ("compare SmolLM2-135M --device toaster", "unknown device 'toaster'"),
    (
        "estimate none.gguf",
        "model: cannot read 'none.gguf': No such file or directory; accepted: a .gguf file",
    ),
    ("estimate hf:a/b/c", "model: 'hf:a/b/c' names no model on the Hub; accepted: hf:org/name"),
    ("inspect none.gguf", "model: cannot read 'none.gguf': No such file or directory"),
    ("inspect .", "model: cannot read 'config.json': No such file or directory"),
    ("inspect /dev/null", "model: cannot read '/dev/null': it is a pipe, a socket or a device"),
    ("inspect", "Missing argument 'PATH'"),
    ("devices toaster", "unknown device 'toaster'"),
    ("models GPT-9", "unknown model 'GPT-9'"),
    ("search run --corpus none.txt", "corpus"),
    ("search run --config none.toml", "config: cannot read 'none.toml'"),
    ("search run --device toaster", "unknown device 'toaster'"),
    ("search run --max-size 60potatoes", "max-size: cannot read '60potatoes'"),
    ("search run --trials 0", "trials: must be a whole number from 1 to 100000, got 0"),
    ("search run --storage banana", "storage: 'banana' cannot be used"),
    ("search resume none", "storage: there is no study file 'runs/sizer.db' yet"),
    ("search frontier none", "storage: there is no study file"),
    ("search status none", "storage: there is no study file"),
    ("search report none", "storage: there is no study file"),
    ("search list", "storage: there is no study file"),
    ("search", "Missing command"),
    ("frobnicate", "No such command 'frobnicate'"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line for line, _ in BAD])
def test_bad_input_is_one_line_on_stderr_and_exit_two(sizer: Any, line: str, message: str) -> None:
    ran = sizer(*line.split())
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert message in ran.err


def test_bad_input_writes_nothing(sizer: Any, tmp_path: Path) -> None:
    for line, _ in BAD:
        sizer(*line.split())
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_directory_is_named(sizer: Any, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the directory should be", encoding="utf-8")
    corpus = tmp_path / "text.txt"
    corpus.write_text("some text to train on, line after line\n" * 3000, encoding="utf-8")
    ran = sizer("search", "run", "--corpus", str(corpus), "--trials", "1", "--steps", "1")
    assert ran.code == 2
    assert ran.err.startswith("error: storage: ")
    assert ran.err.count("\n") == 1


def test_batch_answers_in_order_and_says_what_is_wrong_in_place(
    sizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        json.dumps({"config": LLAMA, "format": "q8_0", "context": 512, "ubatch": 128, "cache_type": "q8_0"}),
        "not json",
        json.dumps({"model": "MobileLLM-125M", "sharing": {"strategy": "immediate", "repeat": 2}}),
        json.dumps({"config": {**LLAMA, "num_key_value_heads": 5}}),
        json.dumps({"model": "MobileLLM-125M", "colour": "red"}),
        "",
        json.dumps(
            {"model": "MobileLLM-125M", "device": "RASPBERRY-PI-5", "runtime": "LLAMA.CPP", "bits": 8}
        ),
        json.dumps({"model": "MobileLLM-125M", "context": 64, "device": None, "flash_attention": False}),
        json.dumps([1, 2]),
        json.dumps({"model": "MobileLLM-125M", "flash_attention": "yes"}),
        json.dumps({"model": "MobileLLM-125M", "format": 4}),
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    ran = sizer("estimate", "--batch", "-")
    answers = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 2
    assert [sorted(a)[0] for a in answers].count("error") == 6
    assert answers[0]["weights"]["format"] == "Q8_0"
    # 512 tokens, 22 layers, keys and values, 4 heads of 64 in q8_0: 34 bytes for 32 values
    assert answers[0]["memory"]["kv_cache_bytes"] == 512 * 22 * 2 * (256 // 32 * 34)
    assert "not JSON" in answers[1]["error"]
    assert answers[2]["architecture"]["executed_layers"] == 60
    assert "num_kv_heads" in answers[3]["error"]
    assert "colour: unknown key" in answers[4]["error"]
    assert answers[5]["latency"]["decode_tokens_per_s"]["basis"] == "fitted"
    assert answers[6]["memory"]["context"] == 64
    assert ran.err == "error: 6 bad line(s) in -\n"


def test_good_batches_exit_with_zero(sizer: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"model": "SmolLM2-135M"}\n', encoding="utf-8")
    ran = sizer("estimate", "--batch", "in.jsonl")
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)


def test_advice_says_what_changes_would_do(sizer: Any) -> None:
    plain, advised = (sizer("estimate", "MobileLLM-125M", *more) for more in ((), ("--advice",)))
    assert advised.out.startswith(plain.out)
    assert "1 layer" in advised.out
    assert "at hidden size 512 (5.12, -14%) or 768" in " ".join(advised.out.split())
    document = sizer("estimate", "MobileLLM-125M", "--advice", "--json").json
    assert document["sensitivities"][0]["parameters"] == 3_540_096
    assert len(document["advice"]) == 1


def test_compare_puts_models_against_devices(sizer: Any) -> None:
    names = ("MobileLLM-125M", "Llama-2-7B")
    devices = ("--device", "raspberry-pi-5", "--device", "iphone-15-pro")
    ran = sizer("compare", *names, *devices, "--bits", "16")
    assert ran.code == 1
    for text in (*names, "raspberry-pi-5", "iphone-15-pro", "fits", "does not fit", "6.738B"):
        assert text in ran.out
    document = sizer("compare", *names, *devices, "--bits", "16", "--json").json
    assert document["schema"] == "sizer.compare/1"
    cells = [(e["architecture"]["name"], e["device"], e["memory"]["fits"]) for e in document["estimates"]]
    assert cells == [
        ("MobileLLM-125M", "raspberry-pi-5", True),
        ("MobileLLM-125M", "iphone-15-pro", True),
        ("Llama-2-7B", "raspberry-pi-5", False),
        ("Llama-2-7B", "iphone-15-pro", False),
    ]
    assert (document["models"], document["devices"]) == (list(names), ["raspberry-pi-5", "iphone-15-pro"])
    assert document["fits"] == [[True, True], [False, False]]
    one = sizer("estimate", "MobileLLM-125M", "--bits", "16", "--device", "iphone-15-pro", "--json").json
    assert document["estimates"][1]["memory"] == one["memory"]
    assert document["estimates"][1]["latency"] == one["latency"]


PI, IPHONE = ("--device", "raspberry-pi-5"), ("--device", "iphone-15-pro")


@pytest.mark.parametrize(
    ("asked", "code", "code_of_any"),
    [
        (("SmolLM2-135M", *PI), 0, 0),
        (("Llama-2-7B", *IPHONE), 1, 1),
        (("Llama-2-7B", *PI), 0, 0),  # in four bits it fits the board and not the phone
        (("Llama-2-7B", *PI, *IPHONE), 1, 0),
        (("SmolLM2-135M", "Llama-2-7B", *IPHONE), 1, 0),
        (("SmolLM2-135M", "Llama-2-7B"), 0, 0),
    ],
)
def test_compare_exits_with_one_unless_all_fits(
    sizer: Any, asked: tuple[str, ...], code: int, code_of_any: int
) -> None:
    assert sizer("compare", *asked).code == code
    assert sizer("compare", *asked, "--json").code == code
    assert sizer("compare", *asked, "--any").code == code_of_any


def test_compare_without_devices(sizer: Any) -> None:
    ran = sizer("compare", "SmolLM2-135M", "SmolLM2-360M", "--format", "q8_0", "--context", "64")
    assert (ran.code, ran.out.count("Q8_0"), ran.out.count("SmolLM2-")) == (0, 1, 2)


def test_solve_lists_shapes_that_fill_the_budget(sizer: Any) -> None:
    limits = {"--max-size": "60MB", "--max-memory": "300MB", "--min-decode": "30"}
    budget = ["--device", "raspberry-pi-5", *(text for pair in limits.items() for text in pair)]
    ran = sizer("solve", *budget)
    assert ran.code == 0
    assert "10 x 768, 12 query / 4 KV heads" in ran.out
    document = sizer("solve", *budget, "--json", "--top", "3").json
    assert document["schema"] == "sizer.solve/1"
    assert len(document["estimates"]) == 3
    for found in document["estimates"]:
        assert found["weights"]["file_bytes"] <= 60_000_000
        assert found["memory"]["total_bytes"] <= 300_000_000
        assert found["latency"]["decode_tokens_per_s"]["value"] >= 30


def test_solve_exits_with_one_when_nothing_fits(sizer: Any) -> None:
    ran = sizer("solve", "--max-size", "1MB")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: budget: no shape fits")


def test_catalogues(sizer: Any) -> None:
    row = next(x for x in sizer("devices").out.splitlines() if x.startswith("raspberry-pi-5 "))
    assert "6.8 GiB" in row  # 85 % of 8 GiB, as in estimates
    pi = sizer("devices", "raspberry-pi-5", "--json").json
    assert pi["ram_bytes"]["value"] == 8 * 2**30
    assert pi["ram_bytes"]["source"]
    assert "8.59 GB" in sizer("devices", "raspberry-pi-5").out
    assert len(sizer("devices", "--json").json["devices"]) >= 5
    assert sizer("devices", "Raspberry Pi 5", "--json").json == pi
    members = [d["name"] for d in sizer("devices", "mid range", "--json").json["devices"]]
    assert len(members) == 10
    assert all(name in sizer("devices", "mid-range").out for name in members)
    printed = sizer("models").out
    assert "124,635,456" in printed
    assert "DeepSeek-R1-Distill-Qwen-1.5B" in printed  # the longest name, whole
    assert "keras_hub/src/models/gemma3" in sizer("models", "gemma3:1b").out.replace("\n", "")
    assert sizer("models", "mobilellm-125m", "--json").json["parameters"] == 124_635_456
    formats = sizer("formats", "--json").json
    assert "Q4_K_M" in formats["runtimes"]["llama.cpp"]
    assert "Q4_K" in sizer("formats").out
    assert sizer("formats", "--runtime", "mlx", "--json").json["runtimes"].keys() == {"mlx"}
    rows = sizer("formats", "q4_k_m", "--json").json["formats"]
    assert [(row["name"], row["runtime"]) for row in rows] == [("Q4_K_M", "llama.cpp")]
    assert rows[0]["types_by_role"]["ffn_down"] == ["Q6_K", "Q4_K"]
    assert sizer("formats", "FP16").out.count("fp16 under") == 5
    wrong = sizer("formats", "Q4_K_X")
    assert (wrong.code, wrong.err.startswith("error: unknown format 'Q4_K_X'; did you mean Q4_K_")) == (
        2,
        True,
    )


def test_this_host_is_a_device(sizer: Any) -> None:
    ran = sizer("estimate", "MobileLLM-125M", "--device", "host", "--json")
    assert ran.code == 0
    assert ran.json["latency"]["decode_tokens_per_s"]["basis"] == "specification"


def test_version(sizer: Any) -> None:
    assert sizer("--version").out == f"sizer {__version__}\n"


COMMANDS = [
    *("estimate", "inspect", "compare", "solve", "devices", "models", "formats", "app", "calibrate"),
    *(f"search {name}" for name in ("run", "resume", "status", "frontier", "report", "list")),
    *("search decisions", "search settle", "quality fit", "quality curve", "export-bench-models"),
    *("export", "verify", "score", "generate", "cluster"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(sizer: Any, command: str) -> None:
    ran = sizer(*command.split(), "--help")
    assert ran.code == 0
    assert "Examples:" in ran.out
    assert f"sizer {command}" in ran.out


def test_no_command_is_untested() -> None:
    listed = {name.split()[0] for name in COMMANDS}
    assert listed == set(cli._COMMANDS)
