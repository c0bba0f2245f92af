"""Adapters: recognised by their config, tensors or GGUF keys, and counted as peft counts them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cli
from sizer.errors import InvalidArchitecture, InvalidFile
from sizer.families.hf_config import config_from_architecture
from sizer.readers import read_model
from sizer.readers.inspection import inspect_file
from sizer.readers.lora_targets import LoraShape, trained_weights
from sizer.registry import model
from tests.sizer.readers.handmade import (
    FLOAT32,
    STRING,
    TINY,
    UNTIED,
    entry,
    gguf_bytes,
    pair,
    stored_bytes,
    text,
)

_ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 16,
    "lora_alpha": 32,
    "bias": "none",
    "target_modules": _ALL,
    "base_model_name_or_path": "meta-llama/Llama-3.2-1B",
}


def _write_config(folder: Path, **change: Any) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps({**_CONFIG, **change}), encoding="utf-8")
    return folder


def _lora_tensors(tensors: dict[str, list[int]]) -> bytes:
    return stored_bytes({name: ("F32", shape) for name, shape in tensors.items()})


def test_a_config_alone_counts_what_peft_prints(tmp_path: Path) -> None:
    # peft's print_trainable_parameters for Llama-3.2-1B, r = 16 on all linear layers: 11,272,192
    for path in (_write_config(tmp_path), tmp_path / "adapter_config.json"):
        document = inspect_file(path).to_dict()
        assert (document["role"], document["tensors"]["parameters"]) == ("adapter", 11_272_192)
        assert document["adapter"] == {
            "method": "lora",
            "rank": 16,
            "alpha": 32.0,
            "targets": _ALL,
            "trained_modules": [],
            "trainable_parameters": 11_272_192,
            "num_bytes": None,
            "base_model": "meta-llama/Llama-3.2-1B",
            "base_parameters": 1_235_814_400,
            "share_of_base": pytest.approx(11_272_192 / 1_235_814_400),
            "note": None,
        }


# TINY: 2 layers, hidden 64, FFN 160, 4 query and 2 KV heads of 16, vocabulary 96, tied.
_ATTENTION = (64 + 64) + (64 + 32) + (64 + 32) + (64 + 64)  # q, k, v, o: in + out
_MLP = 3 * (64 + 160)
COUNTS: dict[str, tuple[dict[str, Any], int]] = {
    "query and value": ({"target_modules": ["q_proj", "v_proj"]}, 2 * 16 * (128 + 96)),
    "all linear": ({"target_modules": "all-linear"}, 2 * 16 * (_ATTENTION + _MLP)),
    "GPT-2's names mean nothing here": ({"target_modules": ["c_attn", "q_proj"]}, 2 * 16 * 128),
    "a name with its parent": ({"target_modules": ["self_attn.q_proj"]}, 2 * 16 * 128),
    "one layer": ({"target_modules": ["q_proj"], "layers_to_transform": [1]}, 16 * 128),
    "one layer as a number": ({"target_modules": ["q_proj"], "layers_to_transform": 0}, 16 * 128),
    "two ranks": (
        {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"v_proj": 4}},
        2 * (16 * 128 + 4 * 96),
    ),
    "DoRA: a magnitude for each output": (
        {"target_modules": ["k_proj"], "use_dora": True},
        2 * (16 * 96 + 32),
    ),
    "the embedding trained whole": (
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        2 * 16 * 128 + 96 * 64,
    ),
    "a tied head trained whole is a copy": (
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        2 * 16 * 128 + 96 * 64,
    ),
    "a tied head with an adapter": ({"target_modules": ["q_proj", "lm_head"]}, 2 * 16 * 128 + 16 * (96 + 64)),
    "no biases to train": ({"target_modules": ["q_proj"], "bias": "all"}, 2 * 16 * 128),
}


@pytest.mark.parametrize(("change", "count"), COUNTS.values(), ids=COUNTS)
def test_keys_of_the_config_worked_by_hand(change: dict[str, Any], count: int) -> None:
    assert trained_weights(LoraShape.from_peft({**_CONFIG, **change}), TINY) == (count, None)


def test_biases_count_where_the_base_has_them() -> None:
    qwen = model("Qwen2.5-0.5B").architecture  # biases of query, key and value: 896 + 2 x 128, 24 layers
    shape = {**_CONFIG, "target_modules": ["q_proj"]}
    plain, _ = trained_weights(LoraShape.from_peft(shape), qwen)
    own, _ = trained_weights(LoraShape.from_peft({**shape, "bias": "lora_only"}), qwen)
    every, _ = trained_weights(LoraShape.from_peft({**shape, "bias": "all"}), qwen)
    assert plain == 24 * 16 * (896 + 896)
    assert (own, every) == (plain + 24 * 896, plain + 24 * (896 + 2 * 128))


@pytest.mark.parametrize(
    ("name", "targets", "count"),
    [
        # GPT-2 large: 36 layers x 1280; c_attn is 1280 x 3840, c_proj both 1280 x 1280 and 5120 x 1280
        ("gpt2-large", ["c_attn"], 36 * 8 * (1280 + 3840)),
        ("gpt2-large", ["c_proj"], 36 * 8 * (1280 + 1280 + 5120 + 1280)),
        # GPT-Neo's c_proj is only the last matrix of the feed-forward block
        ("gpt-neo-125m", ["c_proj"], 12 * 8 * (3072 + 768)),
        ("pythia-70m", ["query_key_value", "dense"], 6 * 8 * (512 + 1536 + 512 + 512)),
        ("opt-1.3b", ["fc1", "out_proj"], 24 * 8 * (2048 + 8192 + 2048 + 2048)),
        # w1 is the gate; 10 of LFM2's 16 layers have no attention, out_proj is in all
        ("LFM2-350M", ["w1"], 16 * 8 * (1024 + 4608)),
        ("LFM2-350M", ["out_proj"], 16 * 8 * (1024 + 1024)),
    ],
)
def test_names_of_other_families(name: str, targets: list[str], count: int) -> None:
    shape = LoraShape.from_peft({**_CONFIG, "r": 8, "target_modules": targets})
    assert trained_weights(shape, model(name).architecture) == (count, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"target_modules": ".*(q|v)_proj"}, "target_modules: a pattern"),
        ({"rank_pattern": {"^.*q_proj$": 4}}, "rank_pattern: a pattern"),
        ({"target_modules": None}, "target_modules: missing"),
        ({"peft_type": "IA3"}, "peft_type: 'IA3'; accepted: LORA"),
        ({"r": 0}, "r: missing or not a rank"),
        ({"target_modules": ["nothing"]}, "none of nothing is a matrix"),
        ({"base_model_name_or_path": "x/y"}, "base model's shape is not known"),
        ({"base_model_name_or_path": "/etc/passwd"}, "base model's shape is not known"),
    ],
)
def test_what_cannot_be_counted_is_said(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    document = inspect_file(_write_config(tmp_path, **change)).to_dict()
    assert document["tensors"]["parameters"] is None
    assert reason in document["adapter"]["note"]


def test_a_base_models_config_beside_it_is_used(tmp_path: Path) -> None:
    _write_config(tmp_path, base_model_name_or_path="x/y")
    config = json.dumps(config_from_architecture(TINY))
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    adapter = inspect_file(tmp_path / "adapter_config.json").to_dict()["adapter"]
    assert adapter["trainable_parameters"] == 2 * 16 * (_ATTENTION + _MLP)
    assert adapter["base_parameters"] == 92_480


def test_an_adapters_tensors_are_counted_and_its_rank_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_config(tmp_path, r=8, target_modules=["q_proj"])
    start = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{start}.lora_A.weight": [8, 2048], f"{start}.lora_B.weight": [2048, 8]}
    (tmp_path / "adapter_model.safetensors").write_bytes(_lora_tensors(tensors))
    for path in (tmp_path, tmp_path / "adapter_model.safetensors"):
        document = inspect_file(path).to_dict()
        assert (document["role"], document["tensors"]["parameters"]) == ("adapter", 32_768)
        adapter = document["adapter"]
        assert (adapter["rank"], adapter["num_bytes"], adapter["targets"]) == (8, 131_072, ["q_proj"])
    assert cli.main(["inspect", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for part in ("adapter", "rank 8, alpha 32", "q_proj", "meta-llama/Llama-3.2-1B"):
        assert part in printed
    (tmp_path / "adapter_config.json").unlink()
    adapter = inspect_file(tmp_path).to_dict()["adapter"]
    assert (adapter["rank"], adapter["alpha"], adapter["base_model"]) == (8, None, None)


def test_mlx_adapters(tmp_path: Path) -> None:
    config = {
        "fine_tune_type": "lora",
        "model": "Qwen/Qwen3-0.6B",
        "num_layers": 16,
        "lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.0},
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    document = inspect_file(tmp_path).to_dict()
    assert document["adapter"]["rank"] == 8
    assert document["tensors"]["parameters"] is None
    start = "model.layers.12.self_attn.q_proj"
    tensors = {f"{start}.lora_a": [1024, 8], f"{start}.lora_b": [8, 2048]}
    (tmp_path / "adapters.safetensors").write_bytes(_lora_tensors(tensors))
    adapter = inspect_file(tmp_path).to_dict()["adapter"]
    assert (adapter["rank"], adapter["trainable_parameters"], adapter["targets"]) == (8, 24_576, ["q_proj"])
    assert adapter["base_parameters"] == 596_049_920


def test_gguf_adapters(tmp_path: Path) -> None:
    pairs = [
        pair("general.architecture", STRING, text("llama")),
        pair("general.type", STRING, text("adapter")),
        pair("adapter.type", STRING, text("lora")),
        pair("adapter.lora.alpha", FLOAT32, struct.pack("<f", 16)),
        pair("general.base_model.0.name", STRING, text("Llama 3.2 1B")),
    ]
    entries = [
        entry("blk.0.attn_q.weight.lora_a", [2048, 8], 0, 0),
        entry("blk.0.attn_q.weight.lora_b", [8, 2048], 0, 65_536),
    ]
    (tmp_path / "x.gguf").write_bytes(gguf_bytes(pairs, entries, 131_072))
    document = inspect_file(tmp_path / "x.gguf").to_dict()
    assert document["role"] == "adapter"
    adapter = document["adapter"]
    assert (adapter["rank"], adapter["alpha"], adapter["targets"]) == (8, 16.0, ["attn_q"])
    assert (adapter["trainable_parameters"], adapter["num_bytes"]) == (32_768, 131_072)


def test_an_adapter_is_not_sized_as_a_model(tmp_path: Path) -> None:
    _write_config(tmp_path)
    for path in (tmp_path, tmp_path / "adapter_config.json"):
        with pytest.raises(InvalidFile, match="is an adapter; accepted: its base model, with --lora-rank"):
            read_model(str(path))
    (tmp_path / "x.gguf").write_bytes(gguf_bytes([pair("general.type", STRING, text("adapter"))]))
    with pytest.raises(InvalidArchitecture, match="general.type: 'adapter' in "):
        read_model(str(tmp_path / "x.gguf"))


def test_an_adapter_config_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(InvalidFile, match="not a JSON object"):
        inspect_file(tmp_path)


_KEYS = [
    "peft_type",
    "r",
    "lora_alpha",
    "bias",
    "target_modules",
    "rank_pattern",
    "modules_to_save",
    "use_dora",
]


@given(
    st.dictionaries(
        st.sampled_from([*_KEYS, "layers_to_transform", "exclude_modules"]),
        st.recursive(
            st.one_of(
                st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from([*_ALL, "", "a*"])
            ),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_ALL), inner, max_size=2)
            ),
            max_leaves=4,
        ),
    )
)
def test_any_keys_are_counted_or_refused_with_a_reason(change: dict[str, Any]) -> None:
    count, reason = trained_weights(LoraShape.from_peft({**_CONFIG, **change}), UNTIED)
    assert (count is None) == (reason is not None)
    assert reason is None or "\n" not in reason
    assert count is None or count > 0
