"""Gemma 3n and Gemma 4: an embedding for each layer, last layers that share keys and values, wide heads.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sizer.architecture import Architecture, BlockNorms
from sizer.errors import InvalidArchitecture, shown
from sizer.families.config_keys import Config, Reader, flag, integer, size, sliding, understood
from sizer.families.sizes import Defaults, common, kv_heads_or_null
from sizer.layers.global_attention import GlobalAttention
from sizer.layers.per_layer_inputs import PerLayerInputs


def _gemma(config: Config, default: Defaults, intermediate: int | None = None) -> dict[str, Any]:
    """Read what both have: Gemma 3's blocks, with keys and values shared by the last layers."""
    understood(config, "altup_active_idx", "altup_coef_clip", "altup_correct_scale")
    understood(config, "activation_sparsity_pattern", "per_layer_config", "num_global_key_value_heads")
    sizes = common(
        config,
        default,
        head_dim=integer(config, "head_dim", 256),
        intermediate=intermediate,
        activation_key="hidden_activation",
        activation_default="gelu_pytorch_tanh",
    )
    bias = flag(config, "attention_bias", False)
    return {
        **sizes,
        "qkv_bias": bias,
        "attention_output_bias": bias,
        "qk_norm": True,
        "block_norms": BlockNorms.BOTH,
    }


def _widths(config: Config, default: int, num_layers: int) -> tuple[int, ...]:
    """Read intermediate_size, one number or one for each layer."""
    value = config.get("intermediate_size", default)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != num_layers or any(type(width) is not int for width in value):
            raise InvalidArchitecture(
                f"intermediate_size: expected a whole number, or one for each of {num_layers} layers, "
                f"got {shown(value)}"
            )
        return tuple(value)
    return (integer(config, "intermediate_size", default),) * num_layers


def _of_layers(widths: tuple[int, ...]) -> dict[str, Any]:
    return {
        "intermediate_size": max(widths),
        "layer_intermediate_sizes": widths if len(set(widths)) > 1 else (),
    }


def _gemma3n(config: Config, name: str) -> Architecture:
    """Read modeling_gemma3n.py's text model: AltUp's streams, Laurel, windows in four of five layers."""
    fields = _gemma(config, Defaults(262400, 2048, 16384, 35, 8, 2, 32768, True), intermediate=1)
    layers = fields["num_layers"]
    return Architecture(
        name=name,
        **fields
        | _of_layers(_widths(config, 16384, layers))
        | sliding(config, layers, 512, lambda layer: bool((layer + 1) % 5)),
        shared_kv_layers=integer(config, "num_kv_shared_layers", 15),
        per_layer_inputs=PerLayerInputs(
            vocab_size=integer(config, "vocab_size_per_layer_input", 262144),
            size=integer(config, "hidden_size_per_layer_input", 256),
            altup_inputs=integer(config, "altup_num_inputs", 4),
            laurel_rank=integer(config, "laurel_rank", 64),
        ),
    )


def _global_attention(config: Config, layers: tuple[int, ...], kv_heads: int) -> GlobalAttention | None:
    """Read the heads of layers without a window; their keys may be their values as well."""
    if not layers:
        return None
    equal = flag(config, "attention_k_eq_v", False)
    wide = integer(config, "num_global_key_value_heads", kv_heads) if equal else kv_heads
    return GlobalAttention(
        layers=layers,
        head_dim=integer(config, "global_head_dim", 512),
        num_kv_heads=wide,
        keys_are_values=equal,
    )


def _gemma4(config: Config, name: str) -> Architecture:
    """Read modeling_gemma4.py's text model: the last layer never slides; experts and a dense block."""
    fields = _gemma(config, Defaults(262144, 2304, 9216, 30, 8, 4, 131072, True))
    layers, kv_heads = fields["num_layers"], kv_heads_or_null(config, fields["num_heads"], 4)
    windows = sliding(config, layers, 512, lambda layer: bool((layer + 1) % 6))
    sliding_layers = tuple(i for i in windows.get("sliding_layers", ()) if i != layers - 1)
    windows = {**windows, "sliding_layers": sliding_layers} if sliding_layers else {}
    shared = integer(config, "num_kv_shared_layers", 0)
    width = fields["intermediate_size"]
    double = flag(config, "use_double_wide_mlp", False)
    widths = tuple(width * (2 if double and i >= layers - shared else 1) for i in range(layers))
    experts: dict[str, Any] = {}
    if flag(config, "enable_moe_block", False):
        experts = {
            "num_experts": integer(config, "num_experts"),
            "num_experts_per_tok": integer(config, "top_k_experts"),
            "moe_intermediate_size": integer(config, "moe_intermediate_size"),
            "experts_beside_mlp": True,
        }
    size_of_input = integer(config, "hidden_size_per_layer_input", 256)
    inputs = PerLayerInputs(vocab_size=size(config, "vocab_size_per_layer_input", 262144), size=size_of_input)
    slides = frozenset(sliding_layers)
    wide = tuple(layer for layer in range(layers) if layer not in slides)
    return Architecture(
        name=name,
        **fields | _of_layers(widths) | windows | experts,
        shared_kv_layers=shared,
        global_attention=_global_attention(config, wide, kv_heads),
        per_layer_inputs=inputs if size_of_input else None,
    )


READERS: dict[str, Reader] = {"gemma3n_text": _gemma3n, "gemma4_text": _gemma4}
