"""Counting on the meta device: parts worked by hand, limits before anything is built, no foreign code."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from sizer.errors import InvalidArchitecture
from sizer.readers import meta_count
from sizer.readers.meta_count import CountedModel, count_on_meta, without_loading_keys
from sizer.readers.meta_worker import count_config, part_of

SMALL = {
    "model_type": "gpt_neox_japanese",
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_multiple_size": 3,
}


def test_parts_of_a_small_model_worked_by_hand() -> None:
    # tied table; a layer: 4 x 8 x 8, FFN 2 x 8 x 24, two norms with biases; a bias in the last layer
    found = count_config({**SMALL, "tie_word_embeddings": True})
    assert found["embedding"] == 50 * 8
    assert found["attention"] == 2 * 4 * 64 + 8
    assert found["mlp"] == 2 * 2 * 8 * 24
    assert found["norm"] == (2 * 2 + 1) * 2 * 8
    assert (found["head"], found["other"], found["outside_text"]) == (0, 0, 0)


def test_a_vision_tower_is_counted_apart() -> None:
    text = {
        "model_type": "gemma3_text",
        "vocab_size": 100,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
    }
    vision = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 28, "patch_size": 14}
    found = count_config(
        {
            "model_type": "gemma3",
            "architectures": ["Gemma3ForConditionalGeneration"],
            "text_config": text,
            "vision_config": vision,
        }
    )
    decoder = 100 * 8 + (8 * 8 + 2 * 8 * 4 + 8 * 8) + 3 * 8 * 16 + 5 * 8 + 2 * 4
    parts = ("embedding", "attention", "mlp", "norm", "head")
    assert sum(found[part] for part in parts) == decoder
    assert found["outside_text"] == found["other"] > 3 * 14 * 14 * 8


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.layers.3.mixer.in_proj.weight", "attention"),
        ("backbone.layers.0.norm.weight", "norm"),
        ("transformer.h.0.ln_1.bias", "norm"),
        ("model.layers.0.self_attn.q_a_layernorm.weight", "norm"),
        ("model.layers.0.block_sparse_moe.router.weight", "mlp"),
        ("decoder.layers.1.fc2.bias", "mlp"),
        ("transformer.wpe.weight", "embedding"),
        ("model.layers.0.altup.correction_coefs.weight", "other"),
    ],
)
def test_a_name_counts_under_its_part(name: str, part: str) -> None:
    assert part_of(name) == part


def test_keys_that_load_kernels_or_code_are_left_out_at_any_depth() -> None:
    config = {
        "auto_map": {"AutoModel": "modeling.Evil"},
        "text_config": {"attn_implementation": "org/kernel", "hidden_size": 8, "quantization_config": {}},
        "dtype": "float8",
    }
    assert without_loading_keys(config) == {"text_config": {"hidden_size": 8}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 100_000}, "num_hidden_layers: expected at most 1000"),
        ({"hidden_size": 10**9}, "hidden_size: expected at most 10000000"),
        ({"text_config": {"vocab_size": 10**400}}, "vocab_size: expected at most .* digits"),
        ({"layers_block_type": ["mamba"] * 5000}, "layers_block_type: expected at most 1000"),
        ({"model_type": None}, "model_type: missing"),
    ],
    ids=str,
)
def test_absurd_sizes_are_refused_before_anything_is_built(
    change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta_count, "_run_worker", lambda request: pytest.fail("a process was started"))
    with pytest.raises(InvalidArchitecture, match=message):
        count_on_meta({**SMALL, **change})


def test_nested_without_end_is_refused() -> None:
    config: dict[str, Any] = {}
    for _ in range(50):
        config = {"text_config": config}
    with pytest.raises(InvalidArchitecture, match="nested deeper"):
        count_on_meta({**SMALL, **config})


def test_without_transformers_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_count, "is_countable", lambda: False)
    with pytest.raises(InvalidArchitecture, match="'gpt_neox_japanese' has no reader here.*transformers"):
        count_on_meta(SMALL)


def test_a_count_says_where_it_is_from() -> None:
    counted = CountedModel(
        name="x",
        model_type="y",
        class_name="Y",
        transformers_version="5",
        embedding=1,
        attention=2,
        mlp=3,
        norm=4,
        head=5,
        other=6,
        outside_text=6,
    )
    assert counted.total == counted.parameters.total == 21
    assert "Y of transformers 5 counted on the meta device, 21 parameters (6 outside" in counted.note


@pytest.mark.slow
def test_a_process_counts_a_model_and_gives_reasons() -> None:
    counted = count_on_meta({**SMALL, "auto_map": {"AutoModelForCausalLM": "none.None"}}, "small")
    assert (counted.name, counted.class_name) == ("small", "GPTNeoXJapaneseForCausalLM")
    assert counted.total == sum(
        count_config(SMALL)[part] for part in ("embedding", "attention", "mlp", "norm")
    )
    with pytest.raises(
        InvalidArchitecture, match="cannot build the model: ValueError: .* no model_type 'a b'"
    ):
        count_on_meta({"model_type": "a b"})
    with pytest.raises(InvalidArchitecture, match="cannot build the model"):
        count_on_meta({**SMALL, "hidden_size": "wide"})


def test_an_answer_that_is_no_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/echo")
    with pytest.raises(InvalidArchitecture, match="its process ended with code 0"):
        count_on_meta(json.loads(json.dumps(SMALL)))
