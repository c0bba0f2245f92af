"""Layouts of llama.cpp's other models: types against what its quantizer chose, published files, refusals.

The rows are llama.cpp's own answers (benchmarks/oracles/llama_cpp.py); it loaded each of these files first.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.families.hf_config import architecture_from_config
from sizer.formats.gguf import gguf_name
from sizer.formats.gguf_layout import gguf_layout, unknown_layout, windowed_layers
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.shape_words import in_words
from tests.published_facts import csv_rows

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "llama_cpp_types.jsonl").read_text("utf-8").splitlines()
]
PAIRS = [(row, mix) for row in ROWS for mix in row["types"]]


def _types_by_name(row: dict[str, Any], mix: str, num_layers: int) -> dict[str, str]:
    """Type of each tensor; a row names a type for all blocks at once, or the blocks of each type."""
    types: dict[str, str] = {}
    for role, kind in {**row["types"][mix], **dict.fromkeys(row["always_f32"], "F32")}.items():
        if role.startswith(("token_embd", "position_embd", "output.", "output_norm")):
            types[role] = kind
        elif isinstance(kind, str):
            types |= {f"blk.{layer}.{role}": kind for layer in range(num_layers)}
        else:
            types |= {f"blk.{layer}.{role}": k for k, layers in kind.items() for layer in layers}
    return types


@pytest.mark.parametrize(("row", "mix"), PAIRS, ids=[f"{row['name']}-{mix}" for row, mix in PAIRS])
def test_every_tensor_gets_the_type_llama_cpp_gave_it(row: dict[str, Any], mix: str) -> None:
    architecture = architecture_from_config(row["config"])
    ours = {gguf_name(t.spec): t.type.name for t in LlamaCpp().store(architecture, mix)}
    theirs = _types_by_name(row, mix, architecture.num_layers)
    if architecture.conv_layers:
        theirs = {name: kind for name, kind in theirs.items() if name in ours}
    assert ours == theirs


def test_the_rows_speak_of_every_layout() -> None:
    assert {gguf_layout(architecture_from_config(row["config"])) for row in ROWS} == {
        *("llama", "gemma2", "gemma3", "phi2", "phi3", "gpt2", "gptneox", "bloom", "falcon", "stablelm"),
        *("olmo2", "lfm2", "openelm"),
    }


def _published(name: str) -> dict[str, str]:
    (row,) = (r for r in csv_rows("gguf_sizes.csv") if r["model"] == name)
    return row


@pytest.mark.parametrize(
    ("file", "name", "within"),
    [
        ("gemma-2-2b-it (bartowski)", "gemma-2-2b", 1e-4),
        # 262,208 rows in its config: the converter drops 64 without a token, and no tokenizer has as many
        ("gemma-3-4b-it text part (ggml-org)", "gemma-3-4b-text", 2e-3),
    ],
)
def test_published_gemma_files(file: str, name: str, within: float) -> None:
    row = _published(file)
    found = estimate(architecture=model(name).architecture, format=row["quant"]).file
    assert found.tensor_bytes == pytest.approx(int(row["port_tensor_bytes"]), rel=within / 10)
    assert found.total == pytest.approx(int(row["file_bytes"]), rel=within)


@pytest.mark.parametrize("publisher", ["bartowski", "ggml-org", "unsloth"])
def test_published_gemma_3_1b_files(publisher: str) -> None:
    row = _published(f"gemma-3-1b-it ({publisher})")
    config = {"vocab_size": 262144, "hidden_size": 1152, "intermediate_size": 6912, "num_key_value_heads": 1}
    shape = architecture_from_config({**config, "model_type": "gemma3_text", "num_attention_heads": 4})
    found = estimate(architecture=shape, format=row["quant"]).file
    assert found.tensor_bytes == int(row["port_tensor_bytes"])
    assert found.total == pytest.approx(int(row["file_bytes"]), rel=1e-4)


def test_a_published_bloom_file_stores_its_table_twice() -> None:
    # an older converter wrote the head as well, and an older quantizer gave the fused matrix Q5_K throughout
    row = _published("bloom-560m (QuantFactory)")
    config = {"model_type": "bloom", "hidden_size": 1024, "n_layer": 24, "n_head": 16}
    shape = architecture_from_config({**config, "tie_word_embeddings": False})
    weights = estimate(architecture=shape, format=row["quant"]).to_dict()["weights"]
    assert weights["file_bytes_low"] < int(row["file_bytes"]) < weights["file_bytes_high"]


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"model_type": "opt"}, "position learned"),
        ({"model_type": "gpt_neo"}, "position learned"),
        ({"model_type": "falcon", "alibi": True}, "position alibi"),
        ({"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 71}, "fused_qkv"),
        ({"model_type": "phi", "tie_word_embeddings": True}, "head_bias"),
        ({"model_type": "gemma2", "tie_word_embeddings": False}, "block_norms"),
        ({"model_type": "phi3", "head_dim": 64}, "fused_qkv"),
    ],
    ids=str,
)
def test_what_llama_cpp_does_not_run_is_refused(change: dict[str, Any], fact: str) -> None:
    architecture = architecture_from_config(change)
    assert fact in unknown_layout(architecture)
    found = estimate(architecture=architecture, format="Q4_K_M")
    words = f"llama.cpp runs no model of this kind .*{in_words([fact])}"
    assert re.match(words, found.unsupported["weights"])
    with pytest.raises(InvalidArchitecture, match=words):
        assert found.file


def _windowed(model_type: str, **keys: Any) -> tuple[Architecture, int]:
    a = architecture_from_config({"model_type": model_type, **keys})
    return a, len(windowed_layers(a))


def test_llama_cpp_uses_the_windows_of_gemma_alone() -> None:
    gemma, in_gemma = _windowed("gemma3_text")
    assert in_gemma == len(gemma.sliding_layers) == 22
    phi, in_phi = _windowed("phi3", sliding_window=2047)
    assert (len(phi.sliding_layers), in_phi) == (32, 0)
    notes = LlamaCpp().assumptions(phi, "Q4_K_M")
    assert any("llama.cpp keeps the whole context" in note for note in notes)
    assert any("22 of 26 layers look back on 4096" in note for note in LlamaCpp().assumptions(gemma, "F16"))
