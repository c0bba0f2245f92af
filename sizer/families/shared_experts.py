"""Families with shared experts, or experts after dense layers: LFM2-MoE, ERNIE, GLM, dots, gpt-oss ...

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, shown
from sizer.families.config_keys import (
    Config,
    Reader,
    default_of,
    flag,
    integer,
    renamed_integer,
    size,
    sliding,
    understood,
)
from sizer.families.layered import conv_layers
from sizer.families.sizes import Defaults, common, first_layers, indices


def _experts(dense: tuple[int, ...], num_layers: int, **fields: Any) -> dict[str, Any]:
    """Return the fields of experts, or none of them where every layer is dense."""
    return {} if len(dense) == num_layers else {**fields, "dense_layers": dense}


# A correction of the router's scores that transformers keeps in a buffer.
_BUFFER = {"routing_bias": True, "routing_bias_is_buffer": True}


def _biases(config: Config, *, output: bool = True, default: bool = False) -> dict[str, Any]:
    bias = flag(config, "attention_bias", default)
    return {"qkv_bias": bias, "attention_output_bias": bias and output}


def _lfm2_moe(config: Config, name: str) -> Architecture:
    """Read modeling_lfm2_moe.py's shape: LFM2's mixers, experts in all but the first layers."""
    understood(config, "conv_dim", "conv_dim_out", "conv_use_xavier_init", "use_pos_enc", "num_heads")
    understood(config, "block_dim", "block_use_swiglu", "block_mlp_init_scale", "block_out_init_scale")
    sizes = common(config, Defaults(65536, 2048, 7168, 32, 32, 8, 128_000))
    layers = sizes["num_layers"]
    return Architecture(
        name=name,
        **{
            **sizes,
            "tie_embeddings": flag(config, "tie_embedding", flag(config, "tie_word_embeddings", True)),
        },
        **_experts(
            first_layers(config, "num_dense_layers", 2, layers),
            layers,
            num_experts=integer(config, "num_experts", 32),
            num_experts_per_tok=integer(config, "num_experts_per_tok", 4),
            moe_intermediate_size=integer(config, "moe_intermediate_size", 1792),
            **(_BUFFER if flag(config, "use_expert_bias", True) else {}),
        ),
        qk_norm=True,
        conv_layers=conv_layers(config, layers),
        conv_kernel=integer(config, "conv_L_cache", 3),
        conv_bias=flag(config, "conv_bias", False),
    )


def _ernie(config: Config, name: str) -> Architecture:
    """Read modeling_ernie4_5_moe.py's shape: experts in every moe_layer_interval-th layer of a range."""
    understood(config, "moe_gate", "moe_use_aux_free", "moe_capacity", "moe_group", "use_rmsnorm")
    understood(config, "moe_multimodal_dispatch_use_allgather", "compression_ratio")
    sizes = common(config, Defaults(103424, 2560, 12288, 28, 20, 4, 131072, True))
    layers = sizes["num_layers"]
    interval = size(config, "moe_layer_interval", 1)
    start = integer(config, "moe_layer_start_index", 1)
    end = integer(config, "moe_layer_end_index", -1)
    end = layers - 1 if end == -1 else end
    dense = tuple(i for i in range(layers) if (i + 1) % interval or not start <= i <= end)
    bias = flag(config, "use_bias", False)
    width = integer(config, "moe_intermediate_size", 1536)
    return Architecture(
        name=name,
        **sizes,
        **_experts(
            dense,
            layers,
            num_experts=renamed_integer(config, "moe_num_experts", "num_experts", 64),
            num_experts_per_tok=renamed_integer(config, "moe_k", "num_experts_per_tok", 6),
            moe_intermediate_size=width,
            shared_expert_intermediate_size=width * integer(config, "moe_num_shared_experts", 2),
            routing_bias=True,
        ),
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=bias,
        head_bias=bias,
        mtp_layers=integer(config, "num_nextn_predict_layers", 0),
    )


def _glm4_moe(config: Config, name: str) -> Architecture:
    """Read modeling_glm4_moe.py's shape: biases on query, key and value, none on attention's output."""
    sizes = common(config, Defaults(151552, 4096, 10944, 46, 96, 8, 131072))
    layers = sizes["num_layers"]
    width = integer(config, "moe_intermediate_size", 1408)
    return Architecture(
        name=name,
        **sizes,
        **_experts(
            first_layers(config, "first_k_dense_replace", 1, layers),
            layers,
            num_experts=renamed_integer(config, "n_routed_experts", "num_local_experts", 128),
            num_experts_per_tok=integer(config, "num_experts_per_tok", 8),
            moe_intermediate_size=width,
            shared_expert_intermediate_size=width * integer(config, "n_shared_experts", 1),
            **_BUFFER,
        ),
        **_biases(config, output=False),
        qk_norm=flag(config, "use_qk_norm", False),
        mtp_layers=renamed_integer(config, "num_nextn_predict_layers", "num_mtp_layers", 1),
    )


def _dots1(config: Config, name: str) -> Architecture:
    """Read modeling_dots1.py's shape: Qwen 3's attention, shared experts and dense layers first."""
    sizes = common(config, Defaults(152064, 4608, 10944, 62, 32, 32, 2048))
    layers = sizes["num_layers"]
    dense = first_layers(config, "first_k_dense_replace", 0, layers)
    experts = {}
    if len(dense) < layers:
        width = integer(config, "moe_intermediate_size", 1408)
        experts = _experts(
            dense,
            layers,
            num_experts=renamed_integer(config, "n_routed_experts", "num_local_experts"),
            num_experts_per_tok=integer(config, "num_experts_per_tok"),
            moe_intermediate_size=width,
            shared_expert_intermediate_size=width * integer(config, "n_shared_experts"),
            **_BUFFER,
        )
    first = integer(config, "max_window_layers", 62)
    return Architecture(
        name=name,
        **sizes,
        **experts,
        **_biases(config),
        **sliding(config, layers, 4096, lambda layer: layer >= first),
        qk_norm=True,
    )


def _same_in_all(config: Config, key: str, common_key: str, default: int) -> int:
    """Read a number, or a list that has the same number for every layer."""
    value = config.get(key)
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        if any(type(v) is not int or v != value[0] for v in value):
            raise InvalidArchitecture(f"{key}: expected the same number for all layers, got {shown(value)}")
        return integer({key: value[0]}, key)
    return renamed_integer(config, key, common_key, default)


def _hunyuan_moe(config: Config, name: str) -> Architecture:
    """Read modeling_hunyuan_v1_moe.py's shape: experts and a shared one, all of intermediate_size."""
    understood(
        config, "moe_intermediate_size", "num_shared_expert", "use_mixed_mlp_moe", "use_cla", "mlp_bias"
    )
    understood(
        config, "cla_share_factor", "norm_type", "use_qk_norm", "attention_head_dim", "class_num", "pool_type"
    )
    understood(config, "moe_layer_num_skipped", "moe_drop_tokens", "moe_random_routing_dropped_token")
    sizes = common(config, Defaults(290943, 4096, 11008, 32, 32, None, 2048))
    return Architecture(
        name=name,
        **sizes,
        **_biases(config),
        num_experts=_same_in_all(config, "num_experts", "num_local_experts", 1),
        num_experts_per_tok=_same_in_all(config, "moe_topk", "num_experts_per_tok", 1),
        shared_expert_intermediate_size=sizes["intermediate_size"],
        qk_norm=True,
    )


def _llama4(config: Config, name: str) -> Architecture:
    """Read modeling_llama4.py's text model: norms on query and key have no weights."""
    sizes = common(config, Defaults(202048, 5120, 8192, 48, 40, 8, 131072))
    layers, width = sizes["num_layers"], sizes["intermediate_size"]
    if "head_dim" not in config:
        sizes["head_dim"] = default_of(config, "head_dim", 128)
    understood(config, "num_local_experts", "num_experts_per_tok", "use_qk_norm", "interleave_moe_layer_step")
    if config.get("moe_layers") is None:
        step = size(config, "interleave_moe_layer_step", 1)
        with_experts = frozenset(range(step - 1, layers, step))
    else:
        with_experts = frozenset(layer for layer in indices(config, "moe_layers") if 0 <= layer < layers)
    dense = tuple(layer for layer in range(layers) if layer not in with_experts)
    experts = {}
    if with_experts:
        experts = _experts(
            dense,
            layers,
            num_experts=integer(config, "num_local_experts", 16),
            num_experts_per_tok=integer(config, "num_experts_per_tok", 1),
            moe_intermediate_size=width,
            shared_expert_intermediate_size=width,
        )
    sizes["intermediate_size"] = integer(config, "intermediate_size_mlp", 16384)
    return Architecture(name=name, **sizes, **experts, **_biases(config), **_chunks(config, layers))


def _chunks(config: Config, layers: int) -> dict[str, Any]:
    """Return Llama 4's layers that look back on one chunk: by layer_types, or those with rotary positions."""
    types = config.get("layer_types")
    if isinstance(types, list) and len(types) == layers:
        chunked = tuple(layer for layer, kind in enumerate(types) if kind == "chunked_attention")
    else:
        listed = config.get("no_rope_layers")
        rotary = listed if isinstance(listed, list) and len(listed) == layers else None
        step = 1 if rotary else size(config, "no_rope_layer_interval", 4)
        chunked = tuple(layer for layer in range(layers) if (rotary[layer] if rotary else (layer + 1) % step))
    understood(config, "no_rope_layer_interval")
    if not chunked or config.get("attention_chunk_size", 1) is None:
        return {}
    return {"sliding_window": size(config, "attention_chunk_size", 8192), "sliding_layers": chunked}


def _gpt_oss(config: Config, name: str) -> Architecture:
    """Read modeling_gpt_oss.py's shape: biases everywhere, a sink for each head, windows in even layers."""
    understood(config, "experts_per_token", "initial_context_length", "swiglu_limit", "swiglu_alpha")
    sizes = common(config, Defaults(201088, 2880, 2880, 36, 64, 8, 131072))
    if "head_dim" not in config:
        sizes["head_dim"] = 64
    return Architecture(
        name=name,
        **sizes,
        **_biases(config, default=True),
        **sliding(config, sizes["num_layers"], 128, lambda layer: layer % 2 == 0),
        num_experts=renamed_integer(config, "num_local_experts", "num_experts", 128),
        num_experts_per_tok=integer(config, "num_experts_per_tok", 4),
        expert_bias=True,
        attention_sinks=True,
    )


READERS: dict[str, Reader] = {
    "lfm2_moe": _lfm2_moe,
    "ernie4_5_moe": _ernie,
    "glm4_moe": _glm4_moe,
    "dots1": _dots1,
    "hunyuan_v1_moe": _hunyuan_moe,
    "llama4_text": _llama4,
    "gpt_oss": _gpt_oss,
}
