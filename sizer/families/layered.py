"""Families whose layers differ from each other: LFM2, with short convolutions between attention layers."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import MAX_LAYERS, Architecture
from sizer.errors import InvalidArchitecture, shown
from sizer.families.config_keys import (
    Config,
    Reader,
    flag,
    head_dim,
    integer,
    sharing_from_config,
    size,
    understood,
)


def _feed_forward(config: Config) -> int:
    """Return the FFN size of LFM2: 2/3 of block_ff_dim times a factor, rounded up (Lfm2MLP)."""
    key = "intermediate_size" if config.get("block_ff_dim") is None else "block_ff_dim"
    written = size(config, key, 12288)
    if not flag(config, "block_auto_adjust_ff_dim", True):
        return written
    factor = config.get("block_ffn_dim_multiplier", 1.0)
    adjusted = 2 * written // 3
    if factor is None:
        return adjusted
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < 1000:
        raise InvalidArchitecture(
            f"block_ffn_dim_multiplier: expected a number from 0 to 1000, got {shown(factor)}"
        )
    multiple = size(config, "block_multiple_of", 256)
    return multiple * -(-int(factor * adjusted) // multiple)


def conv_layers(config: Config, num_layers: int) -> tuple[int, ...]:
    """List layers without attention: by layer_types, or not in full_attn_idxs (Lfm2Config.__post_init__)."""
    types = config.get("layer_types")
    if types is not None:
        known = isinstance(types, Sequence) and all(t in ("conv", "full_attention") for t in types)
        if not known or len(types) != num_layers:
            raise InvalidArchitecture(
                f'layer_types: expected "conv" or "full_attention" for each of {num_layers} layers'
            )
        return tuple(index for index, kind in enumerate(types) if kind == "conv")
    attention = config.get("full_attn_idxs")
    if attention is None:
        return ()
    if not isinstance(attention, Sequence) or isinstance(attention, str):
        raise InvalidArchitecture(f"full_attn_idxs: expected a list of layers, got {shown(attention)}")
    return tuple(index for index in range(num_layers) if index not in attention)


def _lfm2(config: Config, name: str) -> Architecture:
    """Read modeling_lfm2.py's shape; defaults are those of Lfm2Config in transformers 5."""
    hidden = integer(config, "hidden_size", 2560)
    heads = integer(config, "num_attention_heads", 32)
    layers = size(config, "num_hidden_layers", 32, MAX_LAYERS)
    tie_key = "tie_word_embeddings" if config.get("tie_embedding") is None else "tie_embedding"
    understood(config, "tie_word_embeddings", "block_dim", "conv_dim", "conv_dim_out", "num_heads")
    understood(config, "intermediate_size", "full_attn_idxs", "layer_types", "block_mlp_init_scale")
    understood(config, "block_norm_eps", "block_out_init_scale", "block_use_swiglu", "block_use_xavier_init")
    understood(config, "conv_use_xavier_init", "use_pos_enc")
    return Architecture(
        name=name,
        vocab_size=integer(config, "vocab_size", 65536),
        num_layers=layers,
        hidden_size=hidden,
        intermediate_size=_feed_forward(config),
        num_heads=heads,
        num_kv_heads=integer(config, "num_key_value_heads", 8),
        head_dim=head_dim(config, hidden, heads),
        max_position_embeddings=integer(config, "max_position_embeddings", 128_000),
        tie_embeddings=flag(config, tie_key, True),
        qk_norm=True,
        conv_layers=conv_layers(config, layers),
        conv_kernel=integer(config, "conv_L_cache", 3),
        conv_bias=flag(config, "conv_bias", False),
        sharing=sharing_from_config(config.get("sharing")),
    )


READERS: dict[str, Reader] = {"lfm2": _lfm2}
