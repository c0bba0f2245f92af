"""Families of gated delta nets with attention in every fourth layer: Qwen3-Next and Qwen3.5.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`).
"""

from __future__ import annotations

from typing import Any

from sizer.architecture import Architecture
from sizer.families.config_keys import Config, Reader, flag, integer, size, understood
from sizer.families.experts import dense_layers
from sizer.families.sizes import Defaults, common, layer_kinds, where
from sizer.layers.delta_net import GatedDeltaNet

# Sizes, and of experts: their number, how many a token uses, their width and the shared one's.
_DEFAULTS: dict[str, tuple[Defaults, tuple[int, int, int, int]]] = {
    "qwen3_next": (Defaults(151936, 2048, 5632, 48, 16, 2, 32768), (512, 10, 512, 512)),
    "qwen3_5_text": (Defaults(248320, 4096, 12288, 32, 16, 4, 32768), (0, 0, 0, 0)),
    "qwen3_5_moe_text": (Defaults(248320, 2048, 0, 40, 16, 2, 32768), (256, 8, 512, 512)),
}
_KINDS = {"linear_attention": "linear", "full_attention": "full"}


def _linear_layers(config: Config, num_layers: int) -> tuple[int, ...]:
    """Return layers without attention: by layer_types, or all but every full_attention_interval-th."""
    kinds = layer_kinds(config, "layer_types", num_layers, _KINDS)
    if kinds is not None:
        return where(kinds, "linear")
    interval = size(config, "full_attention_interval", 4)
    return tuple(layer for layer in range(num_layers) if (layer + 1) % interval)


def _experts(config: Config, sizes: dict[str, Any]) -> dict[str, Any]:
    """Read the mixture of experts, with a gated expert that every token uses."""
    model_type = str(config["model_type"])
    experts, used, width, shared = _DEFAULTS[model_type][1]
    experts = integer(config, "num_experts", experts) if experts else 0
    dense = dense_layers(config, sizes["num_layers"]) if model_type == "qwen3_next" else ()
    if not experts or len(dense) == sizes["num_layers"]:
        return {}
    return {
        "num_experts": experts,
        "num_experts_per_tok": integer(config, "num_experts_per_tok", used),
        "moe_intermediate_size": integer(config, "moe_intermediate_size", width),
        "shared_expert_intermediate_size": integer(config, "shared_expert_intermediate_size", shared),
        "shared_expert_gate": True,
        "dense_layers": dense,
    }


def _qwen(config: Config, name: str) -> Architecture:
    """Read modeling_qwen3_next.py's shape, or modeling_qwen3_5.py's, whose projections are apart."""
    sizes = common(config, _DEFAULTS[str(config["model_type"])][0])
    bias = flag(config, "attention_bias", False)
    understood(config, "attn_output_gate", "full_attention_interval", "intermediate_size")
    linear = _linear_layers(config, sizes["num_layers"])
    delta_net = GatedDeltaNet(
        layers=linear,
        num_key_heads=size(config, "linear_num_key_heads", 16),
        num_value_heads=size(config, "linear_num_value_heads", 32),
        key_head_dim=integer(config, "linear_key_head_dim", 128),
        value_head_dim=integer(config, "linear_value_head_dim", 128),
        conv_kernel=integer(config, "linear_conv_kernel_dim", 4),
        fused_projections=config["model_type"] == "qwen3_next",
        fused_beta_alpha=config["model_type"] == "qwen3_next",
    )
    return Architecture(
        name=name,
        **{**sizes, "head_dim": integer(config, "head_dim", 256)},
        **_experts(config, sizes),
        qkv_bias=bias,
        attention_output_bias=bias,
        qk_norm=True,
        attention_gate=True,
        delta_net=delta_net if linear else None,
        mtp_layers=integer(config, "mtp_num_hidden_layers", 0),
    )


READERS: dict[str, Reader] = dict.fromkeys(_DEFAULTS, _qwen)
