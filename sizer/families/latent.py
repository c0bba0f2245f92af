"""Families with multi-head latent attention: DeepSeek-V2, DeepSeek-V3, MiniCPM3; DeepSeek's without.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sizer.architecture import Architecture
from sizer.families.config_keys import Config, Reader, flag, integer, renamed_integer, size, understood
from sizer.families.sizes import Defaults, common, first_layers
from sizer.layers.latent_attention import LatentAttention


class _Latent(NamedTuple):
    """What a configuration class has for keys of latent attention that are left out."""

    kv_rank: int
    query_rank: int
    nope_head_dim: int
    rope_head_dim: int
    value_head_dim: int | None  # None: the hidden size over the heads


_DEFAULTS = {
    # DeepSeekMoE's remote code, configuration_deepseek.py of deepseek-ai/deepseek-moe-16b-base: no latent row
    "deepseek": (Defaults(102400, 4096, 11008, 30, 32, 32, 2048), _Latent(512, 1536, 128, 64, 128)),
    "deepseek_v2": (Defaults(102400, 4096, 11008, 32, 32, None, 2048), _Latent(512, 1536, 128, 64, 128)),
    "deepseek_v3": (Defaults(129280, 7168, 18432, 61, 128, 128, 4096), _Latent(512, 1536, 128, 64, 128)),
    "minicpm3": (Defaults(73448, 2560, 6400, 62, 40, 40, 32768, True), _Latent(256, 768, 64, 32, None)),
}


def _latent_attention(config: Config, default: _Latent, hidden: int, heads: int) -> LatentAttention:
    """Read the ranks and widths; q_lora_rank null means one matrix for queries."""
    rank = config.get("q_lora_rank", default.query_rank)
    value = default.value_head_dim
    return LatentAttention(
        kv_rank=integer(config, "kv_lora_rank", default.kv_rank),
        query_rank=None if rank is None else integer(config, "q_lora_rank", default.query_rank),
        nope_head_dim=integer(config, "qk_nope_head_dim", default.nope_head_dim),
        rope_head_dim=integer(config, "qk_rope_head_dim", default.rope_head_dim),
        value_head_dim=integer(config, "v_head_dim", hidden // heads if value is None else value),
        bias=flag(config, "attention_bias", False),
    )


def _read(config: Config, name: str, **more: Any) -> Architecture:
    sizes_default, latent_default = _DEFAULTS[str(config["model_type"])]
    understood(config, "head_dim", "ep_size", "moe_layer_freq", "seq_aux", "num_experts", "use_mla")
    if config.get("use_mla") is False or config["model_type"] == "deepseek":
        return _without_latent(config, name, sizes_default, more)
    sizes = common(config, sizes_default, head_dim=2)  # head_dim follows from the parts of a head
    latent = _latent_attention(config, latent_default, sizes["hidden_size"], sizes["num_heads"])
    return Architecture(
        name=name,
        **{**sizes, "head_dim": latent.head_dim, "num_kv_heads": sizes["num_heads"], **more},
        latent_attention=latent,
    )


def _without_latent(
    config: Config, name: str, sizes_default: Defaults, more: Mapping[str, Any]
) -> Architecture:
    """Read DeepSeek-OCR's and DeepSeek-VL2's small decoders: Llama's attention, by their remote code."""
    understood(config, "kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    heads = size(config, "num_attention_heads", sizes_default.heads)
    hidden = size(config, "hidden_size", sizes_default.hidden)
    sizes = common(config, sizes_default, head_dim=max(hidden // max(heads, 1), 1))
    bias = flag(config, "attention_bias", False)
    return Architecture(name=name, **{**sizes, **more}, qkv_bias=bias, attention_output_bias=bias)


def _minicpm3(config: Config, name: str) -> Architecture:
    """Read modeling_minicpm3.py's shape: dense, with Llama's feed-forward block."""
    return _read(config, name, mlp_bias=flag(config, "mlp_bias", False))


def _deepseek(config: Config, name: str) -> Architecture:
    """Read modeling_deepseek_v2.py's or modeling_deepseek_v3.py's shape: dense layers first, then experts."""
    second = config["model_type"] != "deepseek_v3"
    layers = size(config, "num_hidden_layers", _DEFAULTS[str(config["model_type"])][0].layers)
    mlp_bias = second and flag(config, "mlp_bias", False)
    dense = first_layers(config, "first_k_dense_replace", 0 if second else 3, layers)
    if len(dense) == layers:
        return _read(config, name, mlp_bias=mlp_bias)
    width = integer(config, "moe_intermediate_size", 1407 if second else 2048)
    experts = integer(config, "n_routed_experts", 64 if second else 256)
    return _read(
        config,
        name,
        mlp_bias=mlp_bias,
        num_experts=experts,
        # DeepSeek-V2's class has no default: all experts, until the config states which
        num_experts_per_tok=integer(config, "num_experts_per_tok", experts if second else 8),
        moe_intermediate_size=width,
        shared_expert_intermediate_size=width * integer(config, "n_shared_experts", 2 if second else 1),
        dense_layers=dense,
        **({} if second else _third(config)),
    )


def _third(config: Config) -> dict[str, Any]:
    """Return what DeepSeek-V3 has in addition: a correction of the router's scores, and MTP layers."""
    return {
        "routing_bias": True,
        "routing_bias_is_buffer": True,
        "mtp_layers": renamed_integer(config, "num_nextn_predict_layers", "num_mtp_layers", 1),
    }


READERS: dict[str, Reader] = {
    **dict.fromkeys(("deepseek", "deepseek_v2", "deepseek_v3"), _deepseek),
    "minicpm3": _minicpm3,
}
