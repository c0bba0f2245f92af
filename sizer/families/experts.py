"""Families whose layers choose among experts: Granite MoE, OLMoE, Mixtral, Qwen 2 and 3 MoE.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`). A router of
`[num_experts, hidden_size]` scores the experts, of which a token uses `num_experts_per_tok`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sizer.architecture import MAX_LAYERS, Architecture
from sizer.errors import InvalidArchitecture
from sizer.families.config_keys import (
    Config,
    Reader,
    activation,
    flag,
    head_dim,
    integer,
    renamed_integer,
    sharing_from_config,
    size,
)

# vocab_size, hidden_size, intermediate_size, layers, heads, KV heads (None: as many), positions, experts and
# how many of them a token uses.
_SIZES: dict[str, tuple[int, int, int, int, int, int | None, int, int, int]] = {
    "granitemoe": (32000, 4096, 11008, 32, 32, None, 2048, 8, 2),
    "granitemoeshared": (32000, 4096, 11008, 32, 32, None, 2048, 8, 2),
    "olmoe": (50304, 2048, 2048, 16, 16, None, 4096, 64, 8),
    "mixtral": (32000, 4096, 14336, 32, 32, 8, 131072, 8, 2),
    "qwen2_moe": (151936, 2048, 5632, 24, 16, None, 32768, 60, 4),
    "qwen3_moe": (151936, 2048, 6144, 24, 32, 4, 32768, 128, 8),
}


def _sizes(config: Config, *, experts_key: str = "num_experts") -> dict[str, Any]:
    model_type = str(config["model_type"])
    vocab, hidden, intermediate, layers, heads, kv_heads, positions, experts, used = _SIZES[model_type]
    hidden = integer(config, "hidden_size", hidden)
    heads = integer(config, "num_attention_heads", heads)
    other_key = "num_local_experts" if experts_key == "num_experts" else "num_experts"
    return {
        "vocab_size": integer(config, "vocab_size", vocab),
        "hidden_size": hidden,
        "intermediate_size": integer(config, "intermediate_size", intermediate),
        "num_layers": size(config, "num_hidden_layers", layers, MAX_LAYERS),
        "num_heads": heads,
        "num_kv_heads": integer(config, "num_key_value_heads", heads if kv_heads is None else kv_heads),
        "head_dim": head_dim(config, hidden, heads),
        "max_position_embeddings": integer(config, "max_position_embeddings", positions),
        "mlp": activation(config, "hidden_act", "silu", gated=True),
        "tie_embeddings": flag(config, "tie_word_embeddings", False),
        "sharing": sharing_from_config(config.get("sharing")),
        "num_experts": renamed_integer(config, experts_key, other_key, experts),
        "num_experts_per_tok": integer(config, "num_experts_per_tok", used),
    }


def _granitemoe(config: Config, name: str) -> Architecture:
    """modeling_granitemoe.py; modeling_granitemoeshared.py has one expert more that every token uses."""
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
    """modeling_olmoe.py: norms on query and key over all heads together."""
    bias = flag(config, "attention_bias", False)
    return Architecture(
        name=name,
        **_sizes(config),
        qkv_bias=bias,
        attention_output_bias=bias,
        qk_norm=True,
        qk_norm_all_heads=True,
    )


def _mixtral(config: Config, name: str) -> Architecture:
    """modeling_mixtral.py: Mistral's attention, and experts."""
    return Architecture(name=name, **_sizes(config, experts_key="num_local_experts"))


def _dense_layers(config: Config, num_layers: int) -> tuple[int, ...]:
    """Layers without experts: those listed, and all but every decoder_sparse_step-th (Qwen*DecoderLayer)."""
    listed = config.get("mlp_only_layers") or ()
    if not isinstance(listed, Sequence) or not all(type(layer) is int for layer in listed):
        raise InvalidArchitecture(f"mlp_only_layers: expected a list of layers, got {listed!r}")
    step = size(config, "decoder_sparse_step", 1)
    dense = frozenset(listed)
    return tuple(layer for layer in range(num_layers) if layer in dense or (layer + 1) % step)


def _qwen_moe(config: Config, name: str) -> Architecture:
    """modeling_qwen2_moe.py: a shared expert behind a gate; modeling_qwen3_moe.py: norms on query and key."""
    second = config["model_type"] == "qwen2_moe"
    sizes = _sizes(config)
    dense = _dense_layers(config, sizes["num_layers"])
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


READERS: dict[str, Reader] = {
    "granitemoe": _granitemoe,
    "granitemoeshared": _granitemoe,
    "olmoe": _olmoe,
    "mixtral": _mixtral,
    "qwen2_moe": _qwen_moe,
    "qwen3_moe": _qwen_moe,
}
