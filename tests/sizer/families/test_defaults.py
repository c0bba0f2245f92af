"""Keys left out: for every family that transformers has, one key at a time, the same tensors and defaults."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sizer.errors import InvalidArchitecture
from sizer.families.config_keys import RecordedConfig
from sizer.families.hf_config import FAMILIES
from tests.meta_models import our_shapes, their_shapes
from tests.other_layers import BASES as OTHER_LAYERS
from tests.sizer.test_random_configs import _INSIDE_OTHERS

transformers = pytest.importorskip("transformers")

# Families of other layers have their own such test (test_other_layers.py); text decoders of vision models are
# built only inside those.
HERE = sorted(
    family
    for family in FAMILIES.keys() - OTHER_LAYERS.keys() - set(_INSIDE_OTHERS)
    if family in transformers.CONFIG_MAPPING
)
# Whole sizes that fit every default: 64 heads of 128 over all KV heads that a class has by default.
COMPLETE: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 8192,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 64,
    "num_key_value_heads": 32,
    "head_dim": 128,
    "max_position_embeddings": 40,
    "tie_word_embeddings": True,
    "attention_bias": True,
    "mlp_bias": True,
    "use_bias": True,
    "sliding_window": 8,
    "num_experts": 16,
    "num_local_experts": 16,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 40,
    "shared_intermediate_size": 40,
    "rope_theta": 10000.0,
}
# Sizes under the names of single families.
OWN: dict[str, dict[str, Any]] = {
    "bloom": {"n_layer": 2, "n_head": 64},
    "distilbert": {"dim": 8192, "n_layers": 2, "n_heads": 64, "hidden_dim": 112},
    "falcon": {"num_kv_heads": 32, "new_decoder_architecture": True, "ffn_hidden_size": 112},
    "gpt2": {"n_embd": 8192, "n_layer": 2, "n_head": 64, "n_inner": 112, "n_positions": 40},
    "gpt_neo": {"num_layers": 2, "num_heads": 64, "attention_types": [[["global", "local"], 1]]},
    "opt": {"ffn_dim": 112, "word_embed_proj_dim": 80},
}


def _complete(family: str) -> dict[str, Any]:
    """Keys that the family's configuration class has, with sizes."""
    known = set(transformers.CONFIG_MAPPING[family]().to_dict())
    keys = {key: value for key, value in COMPLETE.items() if key in known}
    return {"model_type": family, **keys, **OWN.get(family, {})}


# What transformers builds but cannot run is refused, in words about what does not fit.
_NOT_RUNNABLE = re.compile("multiple of|does not divide|as model_type 'helium' needs|layer_types: expected")
PAIRS = [(family, key) for family in HERE for key in _complete(family) if key != "model_type"]


@pytest.mark.parametrize("how", ["left out", "null"])
@pytest.mark.parametrize(("family", "key"), PAIRS, ids=[f"{family}-{key}" for family, key in PAIRS])
def test_a_key_left_out_or_null_is_read_as_transformers_reads_it(family: str, key: str, how: str) -> None:
    config = {**_complete(family), key: None}
    if how == "left out":
        del config[key]
    try:
        theirs = their_shapes(config)
    except Exception as error:  # whatever transformers raises
        pytest.skip(f"transformers builds no model: {type(error).__name__}")
    try:
        ours = our_shapes(config)
    except InvalidArchitecture as error:
        if not _NOT_RUNNABLE.search(str(error)):
            raise
        return
    assert ours == theirs


@pytest.mark.parametrize("family", HERE)
def test_defaults_are_those_of_the_configuration_class(family: str) -> None:
    recorded = RecordedConfig({"model_type": family})
    FAMILIES[family](recorded, "config")
    stated = transformers.CONFIG_MAPPING[family]().to_dict()
    renamed = transformers.CONFIG_MAPPING[family].attribute_map
    compared = {}
    for key, ours in recorded.defaults.items():
        theirs = stated.get(key, stated.get(renamed.get(key, key)))
        if theirs is not None:  # null: computed from other keys, and compared as shapes
            compared[key] = (ours, theirs)
    assert {key: pair for key, pair in compared.items() if pair[0] != pair[1]} == {}
    assert "vocab_size" in compared
