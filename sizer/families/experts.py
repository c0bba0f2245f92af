"""Families whose layers choose among experts: Granite MoE, OLMoE, Mixtral, Phi MoE, Qwen 2 and 3 MoE.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`). A router of
`[num_experts, hidden_size]` scores the experts, of which a token uses `num_experts_per_tok`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sizer.architecture import MAX_LAYERS, Architecture, BlockNorms, NormKind
from sizer.errors import InvalidArchitecture, shown
from sizer.families.config_keys import (
    Config,
    Reader,
    activation,
    flag,
    head_dim_or,
    integer,
    kv_heads,
    renamed_integer,
    sharing_from_config,
    size,
    sliding,
)

# vocab_size, hidden_size, intermediate_size, layers, heads, KV heads (None: as many), positions, experts and
# how many of them a token uses.
_SIZES: dict[str, tuple[int, int, int, int, int, int | None, int, int, int]] = {
    "flex_olmo": (100352, 4096, 11008, 32, 32, None, 4096, 7, 5),
    "phimoe": (32064, 4096, 6400, 32, 32, 8, 131072, 16, 2),
    "granitemoe": (32000, 4096, 11008, 32, 32, None, 2048, 8, 2),
    "granitemoeshared": (32000, 4096, 11008, 32, 32, None, 2048, 8, 2),
    "olmoe": (50304, 2048, 2048, 16, 16, None, 4096, 64, 8),
    "mixtral": (32000, 4096, 14336, 32, 32, 8, 131072, 8, 2),
    "qwen2_moe": (151936, 2048, 5632, 24, 16, 16, 32768, 60, 4),
    "qwen3_moe": (151936, 2048, 6144, 24, 32, 4, 32768, 128, 8),
}


def _sizes(
    config: Config, *, experts_key: str = "num_experts", head_dim_default: int | None = None
) -> dict[str, Any]:
    model_type = str(config["model_type"])
    vocab, hidden, intermediate, layers, heads, kv_default, positions, experts, used = _SIZES[model_type]
    hidden = integer(config, "hidden_size", hidden)
    heads = integer(config, "num_attention_heads", heads)
    other_key = "num_local_experts" if experts_key == "num_experts" else "num_experts"
    return {
        "vocab_size": integer(config, "vocab_size", vocab),
        "hidden_size": hidden,
        "intermediate_size": integer(config, "intermediate_size", intermediate),
        "num_layers": size(config, "num_hidden_layers", layers, MAX_LAYERS),
        "num_heads": heads,
        "num_kv_heads": kv_heads(config, heads, kv_default),
        "head_dim": head_dim_or(config, hidden, heads, head_dim_default),
        "max_position_embeddings": integer(config, "max_position_embeddings", positions),
        "mlp": activation(config, "hidden_act", "silu", gated=True),
        "tie_embeddings": flag(config, "tie_word_embeddings", False),
        "sharing": sharing_from_config(config.get("sharing")),
        "num_experts": renamed_integer(config, experts_key, other_key, experts),
        "num_experts_per_tok": integer(config, "num_experts_per_tok", used),
    }


def _granitemoe(config: Config, name: str) -> Architecture:
    """Read modeling_granitemoe.py's shape; modeling_granitemoeshared.py has one expert for all tokens."""
    bias = flag(config, "attention_bias", False)
    shared = config["model_type"] == "granitemoeshared"
    return Architecture(
        name=name,
        **_sizes(config, experts_key="num_local_experts"),
        qkv_bias=bias,
        attention_output_bias=bias,
        shared_expert_intermediate_size=integer(config, "shared_intermediate_size", 0) if shared else 0,
    )


def _olmoe(config: Config, name: str) -> Architecture:
    """Read modeling_olmoe.py's shape: norms on query and key over all heads; FlexOlmo's norms are after."""
    bias = flag(config, "attention_bias", False)
    after = config["model_type"] == "flex_olmo"
    return Architecture(
        name=name,
        **_sizes(config),
        block_norms=BlockNorms.POST if after else BlockNorms.PRE,
        qkv_bias=bias,
        attention_output_bias=bias,
        qk_norm=True,
        qk_norm_all_heads=True,
    )


def _phimoe(config: Config, name: str) -> Architecture:
    """Read modeling_phimoe.py's shape: biased layer norms, and a bias at the head where asked for."""
    bias = flag(config, "attention_bias", False)
    sizes = _sizes(config, experts_key="num_local_experts")
    return Architecture(
        name=name,
        **sizes,
        norm=NormKind.LAYERNORM,
        qkv_bias=bias,
        attention_output_bias=bias,
        head_bias=flag(config, "lm_head_bias", False),
        **sliding(config, sizes["num_layers"], None, lambda layer: True),
    )


def _mixtral(config: Config, name: str) -> Architecture:
    """Read modeling_mixtral.py's shape: Mistral's attention, and experts."""
    return Architecture(name=name, **_sizes(config, experts_key="num_local_experts"))


def dense_layers(config: Config, num_layers: int) -> tuple[int, ...]:
    """List layers without experts: listed, or all but every decoder_sparse_step-th (Qwen*DecoderLayer)."""
    dense = frozenset(_layers_of(config, "mlp_only_layers"))
    step = size(config, "decoder_sparse_step", 1)
    return tuple(layer for layer in range(num_layers) if layer in dense or (layer + 1) % step)


def _qwen_moe(config: Config, name: str) -> Architecture:
    """Read modeling_qwen2_moe.py (gated shared expert) or modeling_qwen3_moe.py (query and key norms)."""
    second = config["model_type"] == "qwen2_moe"
    sizes = _sizes(config)
    dense = dense_layers(config, sizes["num_layers"])
    bias = flag(config, "attention_bias", False) and not second
    if sizes["num_experts"] == 0 or len(dense) == sizes["num_layers"]:
        sizes |= {"num_experts": 0, "num_experts_per_tok": 0}
    else:
        sizes["dense_layers"] = dense
        sizes["moe_intermediate_size"] = integer(config, "moe_intermediate_size", 1408 if second else 768)
        if second:
            sizes["shared_expert_gate"] = True
            sizes["shared_expert_intermediate_size"] = integer(
                config, "shared_expert_intermediate_size", 5632
            )
    return Architecture(
        name=name,
        **sizes,
        qkv_bias=flag(config, "qkv_bias", True) if second else bias,
        attention_output_bias=bias,
        qk_norm=not second,
    )


def _layers_of(config: Config, key: str) -> Sequence[int]:
    listed = config.get(key) or ()
    if not isinstance(listed, Sequence) or not all(type(layer) is int for layer in listed):
        raise InvalidArchitecture(f"{key}: expected a list of layers, got {shown(listed)}")
    return listed


READERS: dict[str, Reader] = {
    "granitemoe": _granitemoe,
    "granitemoeshared": _granitemoe,
    "flex_olmo": _olmoe,
    "olmoe": _olmoe,
    "phimoe": _phimoe,
    "mixtral": _mixtral,
    "qwen2_moe": _qwen_moe,
    "qwen3_moe": _qwen_moe,
}
