"""Configs as they were before a family came into transformers: under another name, or with other keys.

Sources: tiiuae/falcon-7b and stabilityai/stablelm-3b-4e1t as first published (remote code), state-spaces'
mamba (mamba_ssm/models/config_mamba.py, MambaConfig; modules/mamba_simple.py and mamba2.py for the defaults).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sizer.errors import InvalidArchitecture
from sizer.families.config_keys import Config

_NAMES = {"RefinedWebModel": "falcon", "RefinedWeb": "falcon", "stablelm_epoch": "stablelm"}
_KEYS = {
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_head_kv": "num_kv_heads",
    "rope_pct": "partial_rotary_factor",
}
# Of mamba_ssm: what a layer's keys are called in transformers, and its default for Mamba and Mamba-2.
_SSM_KEYS = {
    "d_state": ("state_size", 16, 128),
    "d_conv": ("conv_kernel", 4, 4),
    "expand": ("expand", 2, 2),
    "dt_rank": ("time_step_rank", "auto", None),
    "headdim": ("head_dim", None, 64),
    "ngroups": ("n_groups", None, 1),
}


def as_today(config: Config) -> tuple[Config, str] | None:
    """Return a config with the family and keys of today's transformers, and a note; None if unknown."""
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type in _NAMES:
        keys = {_KEYS.get(key, key): value for key, value in config.items()}
        keys["model_type"] = _NAMES[model_type]
        keys.setdefault("new_decoder_architecture", model_type == "RefinedWeb")
        if keys["model_type"] != "falcon":
            del keys["new_decoder_architecture"]
        return keys, f"model_type: {model_type}, an earlier name of {_NAMES[model_type]}"
    if model_type is None and {"d_model", "n_layer"} <= set(config) and "ssm_cfg" in config:
        return _mamba_ssm(config)
    return None


def _mamba_ssm(config: Config) -> tuple[Config, str]:
    """Return the keys of mamba_ssm's own config.json as transformers' Mamba or Mamba-2."""
    for key in ("attn_layer_idx", "d_intermediate"):
        if config.get(key):
            raise InvalidArchitecture(f"{key}: not supported in a config of mamba_ssm; accepted: none or 0")
    given = config["ssm_cfg"]
    layer: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    second = layer.get("layer") == "Mamba2"
    keys: dict[str, Any] = {
        "model_type": "mamba2" if second else "mamba",
        "hidden_size": config["d_model"],
        "num_hidden_layers": config["n_layer"],
        "vocab_size": _padded(config.get("vocab_size", 50277), config.get("pad_vocab_size_multiple", 8)),
        "tie_word_embeddings": config.get("tie_embeddings", True),
        "use_conv_bias": layer.get("conv_bias", True),
        "use_bias": layer.get("bias", False),
    }
    for key, (name, first_default, second_default) in _SSM_KEYS.items():
        default = second_default if second else first_default
        if default is not None:
            keys[name] = layer.get(key, default)
    if second and all(type(keys[k]) is int and keys[k] > 0 for k in ("hidden_size", "expand", "head_dim")):
        keys["num_heads"] = keys["hidden_size"] * keys["expand"] // keys["head_dim"]
    return keys, f"model_type: missing, read as {keys['model_type']} by the keys of mamba_ssm"


def _padded(vocab: object, multiple: object) -> object:
    """Return a vocabulary rounded up to whole multiples, as mamba_ssm stores it."""
    if type(vocab) is int and type(multiple) is int and multiple > 0:
        return -(-vocab // multiple) * multiple
    return vocab
