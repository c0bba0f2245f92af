"""`sizer inspect`: what a file holds, and the calculator's answer beside it."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cli
from sizer.readers.inspection import inspect_file
from tests.sizer.readers.handmade import (
    ARRAY,
    FLOAT32,
    STRING,
    TINY,
    UNTIED,
    array,
    entry,
    gguf_bytes,
    pair,
    safetensors_bytes,
    text,
    write_gguf,
    write_safetensors,
)

Inspect = Callable[..., Any]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Inspect:
    """What `sizer inspect` prints; the JSON document parsed."""

    def run(*arguments: str) -> Any:
        assert cli.main(["inspect", *arguments]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return json.loads(printed.out) if "--json" in arguments else printed.out

    return run


def test_the_calculator_agrees_with_a_gguf_file(tmp_path: Path, shown: Inspect) -> None:
    file = str(tmp_path / "tiny.gguf")
    write_gguf(Path(file), UNTIED)
    document = shown(file, "--json")
    assert (document["schema"], document["kind"]) == ("sizer.inspect/1", "gguf")
    assert document["tensors"]["count"] == 21
    assert "list" not in document["tensors"]
    assert document["calculator"] == {
        "format": "Q8_0",
        "parameters": {"file": 98_624, "calculated": 98_624, "difference": 0},
        "tensor_bytes": {"file": 105_728, "calculated": 105_728, "difference": 0},
        "only_in_file": [],
        "only_calculated": [],
    }
    assert document["gguf"]["tokenizer"]["num_tokens"] == 96
    printed = shown(file)
    for told in ("GGUF version 3", "98,624 (the file agrees)", "105,728 as Q8_0", "96 tokens, 95 merges"):
        assert told in printed
    assert "blk.1.ffn_down.weight" not in printed
    assert "blk.1.ffn_down.weight" in shown(file, "--tensors")
    assert shown(file, "--tensors", "--json")["tensors"]["list"][0]["name"] == "token_embd.weight"


@pytest.mark.parametrize("shards", [1, 2])
def test_the_calculator_agrees_with_safetensors(tmp_path: Path, shown: Inspect, shards: int) -> None:
    path = write_safetensors(tmp_path / "tiny", TINY, shards=shards)
    for way in (path, path.parent):
        document = shown(str(way), "--json")
        assert document["calculator"]["parameters"]["difference"] == 0
        assert document["calculator"]["tensor_bytes"]["difference"] == 0
        assert len(document["files"]) == shards


def test_a_difference_is_told_in_figures(tmp_path: Path, shown: Inspect) -> None:
    path = write_safetensors(tmp_path / "tiny", UNTIED)
    config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = True
    (path.parent / "config.json").write_text(json.dumps(config), encoding="utf-8")
    document = shown(str(path), "--json")["calculator"]
    # the head: 96 x 64 weights of two bytes
    assert document["parameters"]["difference"] == 6144
    assert document["tensor_bytes"]["difference"] == 12_288
    assert document["only_in_file"] == ["lm_head.weight"]
    printed = shown(str(path))
    assert "the file has 6,144 more" in printed
    assert "lm_head.weight" in printed


def test_weights_without_a_config_and_a_config_without_weights(tmp_path: Path, shown: Inspect) -> None:
    path = write_safetensors(tmp_path / "tiny", TINY)
    assert "92,480" in shown(str(path.parent / "config.json"))
    assert shown(str(path.parent / "config.json"), "--json")["tensors"]["parameters"] == 92_480
    (path.parent / "config.json").unlink()
    document = shown(str(path), "--json")
    assert (document["architecture"], document["calculator"]) == (None, None)
    assert "there is no config.json in its directory" in document["no_architecture"]
    assert "not known: " in shown(str(path))


def test_unknown_types_are_named_and_not_guessed(tmp_path: Path, shown: Inspect) -> None:
    file = tmp_path / "bitnet.gguf"
    file.write_bytes(gguf_bytes([], [entry("t", [64, 2], 36, 0)], 64))
    tensors = shown(str(file), "--json")["tensors"]
    assert tensors["num_bytes"] is None
    assert tensors["by_type"] == [
        {"type": "unknown type 36", "tensors": 1, "parameters": 128, "num_bytes": None}
    ]
    assert "unknown type 36" in shown(str(file))


def test_a_files_text_is_shown_as_it_is(tmp_path: Path, shown: Inspect) -> None:
    pairs = [
        pair("general.name", STRING, text("[red]\x1b[2J[/nothing]")),
        pair("scale", FLOAT32, struct.pack("<f", math.inf)),
        pair("scales", ARRAY, array(FLOAT32, 2, struct.pack("<ff", math.nan, 1))),
        pair("split.count", 2, struct.pack("<H", 3)),
        pair("template", STRING, text("x" * 5000)),
    ]
    file = tmp_path / "x.gguf"
    file.write_bytes(gguf_bytes(pairs))
    printed = shown(str(file))
    assert "[red]\\x1b[2J[/nothing]" in printed
    assert "\x1b" not in printed
    assert "1 of 3 files" in printed
    assert len(printed) < 5000
    metadata = shown(str(file), "--json")["metadata"]
    assert (metadata["scale"], metadata["scales"], len(metadata["template"])) == ("inf", ["nan", 1.0], 5000)


def test_lone_surrogates_in_json_do_not_stop_the_printing(tmp_path: Path, shown: Inspect) -> None:
    header = rb'{"a\ud800": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}'
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors_bytes(header, 1))
    assert "a\\ud800" in shown(str(file), "--tensors")


def test_biases_are_counted(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", replace(TINY, qkv_bias=True), family="qwen2", format="F16")
    agreement = inspect_file(tmp_path / "tiny.gguf").agreement
    assert agreement is not None
    assert (agreement.parameters_difference, agreement.bytes_difference) == (0, 0)
