"""Configs as first published: families under earlier names, and mamba_ssm's own keys."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from sizer.errors import InvalidArchitecture
from sizer.families.hf_config import read_config
from sizer.tensors import count_parameters, tensor_specs

SSM = {"d_model": 2560, "n_layer": 64, "vocab_size": 50277, "ssm_cfg": {}, "pad_vocab_size_multiple": 8}
SSM2 = {**SSM, "d_model": 768, "n_layer": 24, "ssm_cfg": {"layer": "Mamba2"}, "pad_vocab_size_multiple": 16}
FALCON: dict[str, Any] = {
    "model_type": "RefinedWebModel",
    **{"hidden_size": 4544, "n_head": 71, "n_layer": 32, "vocab_size": 65024},
    **{"alibi": False, "bias": False, "multi_query": True, "parallel_attn": True},
}
STABLELM: dict[str, Any] = {
    "model_type": "stablelm_epoch",
    **{"hidden_size": 2560, "intermediate_size": 6912, "num_attention_heads": 32, "num_hidden_layers": 32},
    **{"num_key_value_heads": 32, "rope_pct": 0.25, "vocab_size": 50304, "tie_word_embeddings": False},
}


@pytest.mark.parametrize(
    ("config", "parameters", "note"),
    [
        # published: state-spaces/mamba-2.8b-hf, tiiuae/falcon-7b, stabilityai/stablelm-3b-4e1t (safetensors)
        (SSM, 2_768_345_600, "model_type: missing, read as mamba by the keys of mamba_ssm"),
        (FALCON, 6_921_720_704, "model_type: RefinedWebModel, an earlier name of falcon"),
        (STABLELM, 2_795_443_200, "model_type: stablelm_epoch, an earlier name of stablelm"),
        # by hand: inner 1,536, 24 heads of 64, convolution over 1,536 + 2 x 128 = 1,792; a layer has
        # 768 x (1,536 + 1,792 + 24) + 1,792 x 5 + 3 x 24 + 1,536 + 1,536 x 768 + 768 = 3,765,320 weights;
        # 24 x 3,765,320 + 50,288 x 768 + 768
        (SSM2, 128_989_632, "model_type: missing, read as mamba2 by the keys of mamba_ssm"),
    ],
)
def test_earlier_configs_have_the_published_count(config: dict[str, Any], parameters: int, note: str) -> None:
    reading = read_config(config)
    assert count_parameters(tensor_specs(reading.architecture)).total == parameters
    assert reading.notes[0] == note
    assert not any("d_model" in text or "n_layer" in text for text in reading.notes)


@pytest.mark.parametrize("odd", [None, [], "x", -1, True, 10**30, {"layer": ["Mamba2"]}])
@pytest.mark.parametrize("key", ["d_model", "n_layer", "vocab_size", "ssm_cfg", "pad_vocab_size_multiple"])
def test_odd_values_are_read_or_refused(key: str, odd: object) -> None:
    with contextlib.suppress(InvalidArchitecture):
        read_config({**SSM2, key: odd})


def test_hybrids_of_mamba_ssm_are_refused() -> None:
    with pytest.raises(InvalidArchitecture, match="attn_layer_idx: not supported"):
        read_config({**SSM, "attn_layer_idx": [9, 18]})
