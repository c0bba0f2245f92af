"""Sliding windows: which layers have one, in each family, and where transformers has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sizer.architecture import LayerSharing, SharingStrategy
from sizer.errors import InvalidArchitecture
from sizer.families.hf_config import architecture_from_config, config_from_architecture
from tests.sizer.test_architecture import SMALL

LLAMA_KEYS: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
}


@pytest.mark.parametrize(
    ("config", "window", "layers"),
    [
        ({"model_type": "gemma2", "num_hidden_layers": 5}, 4096, (0, 2, 4)),
        (
            {"model_type": "gemma3_text", "num_hidden_layers": 8, "sliding_window": 512},
            512,
            (0, 1, 2, 3, 4, 6, 7),
        ),
        ({"model_type": "gemma3_text", "num_hidden_layers": 4, "sliding_window_pattern": 3}, 4096, (0, 1, 3)),
        (
            {
                "model_type": "gemma3_text",
                "num_hidden_layers": 2,
                "layer_types": ["full_attention", "sliding_attention"],
            },
            4096,
            (1,),
        ),
        ({"model_type": "gemma2", "sliding_window": None}, None, ()),
        ({"model_type": "gemma", "sliding_window": 512}, None, ()),
        ({"model_type": "phi3", "num_hidden_layers": 2}, None, ()),
        ({"model_type": "phi3", "num_hidden_layers": 2, "sliding_window": 2047}, 2047, (0, 1)),
        ({**LLAMA_KEYS, "model_type": "mistral"}, 4096, (0, 1, 2)),
        ({**LLAMA_KEYS, "model_type": "mistral", "sliding_window": 0}, None, ()),
        ({**LLAMA_KEYS, "model_type": "qwen2", "sliding_window": 64}, None, ()),
        (
            {**LLAMA_KEYS, "model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 1},
            4096,
            (1, 2),
        ),
    ],
    ids=str,
)
def test_sliding_windows_are_read(
    config: dict[str, Any], window: int | None, layers: tuple[int, ...]
) -> None:
    a = architecture_from_config(config)
    assert (a.sliding_window, a.sliding_layers) == (window, layers)


@pytest.mark.parametrize(
    "model_type",
    [
        *("cohere2", "cwm", "exaone4", "gemma2", "gemma3_text", "ministral", "olmo3", "qwen2", "qwen3"),
        *("smollm3", "vaultgemma"),
    ],
)
def test_sliding_layers_are_those_of_transformers(model_type: str) -> None:
    transformers = pytest.importorskip("transformers")
    keys = {"num_hidden_layers": 13, "use_sliding_window": True, "max_window_layers": 5, "sliding_window": 64}
    config = transformers.AutoConfig.for_model(model_type, **keys)
    a = architecture_from_config({**LLAMA_KEYS, **keys, "model_type": model_type})
    kinds = ["sliding_attention" if i in a.sliding_layers else "full_attention" for i in range(13)]
    assert kinds == config.layer_types


def test_wrong_layer_types_are_refused() -> None:
    with pytest.raises(InvalidArchitecture, match='layer_types: expected "sliding_attention" or "full'):
        architecture_from_config(
            {"model_type": "gemma2", "num_hidden_layers": 2, "layer_types": ["conv"] * 2}
        )


def test_unrolling_keeps_the_windows_of_each_run() -> None:
    sharing = LayerSharing(strategy=SharingStrategy.REVERSE, repeat=2)
    a = replace(SMALL, num_layers=3, sliding_window=64, sliding_layers=(0, 1), sharing=sharing)
    assert a.unrolled().sliding_layers == (0, 1, 4, 5)
    with pytest.raises(InvalidArchitecture, match="sliding_layers must be layers from 0 to 2"):
        replace(a, sliding_layers=(3,))
    with pytest.raises(InvalidArchitecture, match="sliding_window: missing"):
        replace(a, sliding_window=None)
    with pytest.raises(InvalidArchitecture, match="config: sliding_layers cannot be expressed"):
        config_from_architecture(a)
