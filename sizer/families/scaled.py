"""OpenELM: each layer has its own heads and MLP width, from multipliers that grow with depth.

The family is not in transformers; keys, defaults and rounding are those of the configuration_openelm.py that
comes with apple/OpenELM-450M.
"""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import MAX_LAYERS, Architecture
from sizer.errors import InvalidArchitecture, shown
from sizer.families.config_keys import (
    Config,
    Reader,
    activation,
    flag,
    integer,
    sharing_from_config,
    size,
)


def _multipliers(config: Config, key: str, default: float, num_layers: int) -> list[float]:
    """Return one multiplier a layer: from one number, from the first and last layer's, or as listed."""
    value = config.get(key)
    given: object = default if value is None else value
    entries = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    listed = [float(m) for m in entries if isinstance(m, int | float) and 0 < m < 1000]
    if not listed or len(listed) != len(entries):
        raise InvalidArchitecture(f"{key}: expected numbers from 0 to 1000, got {shown(value)}")
    if len(listed) == 1:
        return listed * num_layers
    if len(listed) == 2:
        first, last = listed
        steps = max(num_layers - 1, 1)
        # to two decimals, as numpy's linspace and round have it
        return [round((first + i * ((last - first) / steps)) * 100) / 100 for i in range(num_layers)]
    if len(listed) != num_layers:
        raise InvalidArchitecture(
            f"{key}: expected one number, two, or one for each of {num_layers} layers, got {len(listed)}"
        )
    return listed


def _make_divisible(value: float, divisor: int) -> int:
    """Return the nearest multiple, at least one of it, and not more than 10 % below the value."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


def _openelm(config: Config, name: str) -> Architecture:
    for key, only in (("ffn_with_glu", True), ("normalization_layer_name", "rms_norm")):
        if config.get(key, only) != only:
            raise InvalidArchitecture(
                f"{key}: {shown(config[key])} is not supported for model_type 'openelm'"
            )
    layers = size(config, "num_transformer_layers", 12, MAX_LAYERS)
    hidden = size(config, "model_dim", 2048)
    head_dim = size(config, "head_dim", 128)
    groups = size(config, "num_gqa_groups", 1)
    divisor = size(config, "ffn_dim_divisor", 256)
    heads = tuple(
        _make_divisible(hidden * m, head_dim * groups) // head_dim
        for m in _multipliers(config, "qkv_multipliers", 1.0, layers)
    )
    widths = tuple(
        _make_divisible(hidden * m, divisor) for m in _multipliers(config, "ffn_multipliers", 4.0, layers)
    )
    return Architecture(
        name=name,
        vocab_size=integer(config, "vocab_size", 32000),
        num_layers=layers,
        hidden_size=hidden,
        intermediate_size=max(widths, default=1),
        num_heads=max(heads, default=1),
        num_kv_heads=max(max(heads, default=1) // groups, 1),
        head_dim=head_dim,
        mlp=activation(config, "activation_fn_name", "swish", gated=True),
        max_position_embeddings=integer(config, "max_context_length", 2048),
        tie_embeddings=flag(config, "share_input_output_layers", False),
        qk_norm=flag(config, "normalize_qk_projections", False),
        fused_qkv=True,
        fused_gate_up=True,
        layer_num_heads=heads if len(set(heads)) > 1 else (),
        layer_intermediate_sizes=widths if len(set(widths)) > 1 else (),
        sharing=sharing_from_config(config.get("sharing")),
    )


READERS: dict[str, Reader] = {"openelm": _openelm}
