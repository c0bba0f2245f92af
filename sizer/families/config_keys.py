"""Values of config.json keys with the checks that every family shares; errors name the key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sizer.architecture import (
    MAX_LAYERS,
    MAX_WIDTH,
    Architecture,
    LayerSharing,
    MlpKind,
    SharingStrategy,
    parse_enum,
)
from sizer.errors import InvalidArchitecture, shown

Config = Mapping[str, Any]
Reader = Callable[[Config, str], Architecture]

# transformers' names of activations (transformers/activations.py, ACT2FN): with a gate, and without one.
_GELUS = ("gelu", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh")
_GATED = {
    "silu": MlpKind.SWIGLU,
    "swish": MlpKind.SWIGLU,
    "relu2": MlpKind.RELU2_GATED,
    **dict.fromkeys(_GELUS, MlpKind.GEGLU),
}
_PLAIN = {"relu": MlpKind.RELU, **dict.fromkeys(_GELUS, MlpKind.GELU)}


def integer(config: Config, key: str, default: int | None = None) -> int:
    """Whole number under a key; null counts as missing, and missing without a default is an error."""
    value = config.get(key)
    if value is None:
        value = default
    if value is None:
        raise InvalidArchitecture(f"{key}: missing from the config; expected a whole number")
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArchitecture(f"{key}: expected a whole number, got {shown(value)}")
    return value


def renamed_integer(config: Config, key: str, name: str, default: int | None = None) -> int:
    """Whole number under a family's own key, or under the common name transformers takes for it as well."""
    return integer(config, name if config.get(key) is None and config.get(name) is not None else key, default)


def size(config: Config, key: str, default: int, limit: int = MAX_WIDTH) -> int:
    """Whole number from 1 to a limit, for keys that are computed with before Architecture checks them."""
    value = integer(config, key, default)
    if not 1 <= value <= limit:
        raise InvalidArchitecture(f"{key}: expected 1 to {limit}, got {shown(value)}")
    return value


def flag(config: Config, key: str, default: bool) -> bool:
    """True or false under a key; null counts as missing."""
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidArchitecture(f"{key}: expected true or false, got {shown(value)}")
    return value


def head_dim(config: Config, hidden: int, heads: int) -> int:
    """`head_dim` where the config says it, otherwise the width divided by the heads."""
    if config.get("head_dim") is not None:
        return integer(config, "head_dim")
    return even_head_dim(hidden, heads)


def even_head_dim(hidden: int, heads: int) -> int:
    """Width divided by the heads, which must come out even."""
    if heads < 1 or hidden % heads:
        raise InvalidArchitecture(
            f"head_dim: missing, and hidden_size {shown(hidden)} is not a multiple of "
            f"num_attention_heads {shown(heads)}"
        )
    return hidden // heads


def activation(config: Config, key: str, default: str, *, gated: bool) -> MlpKind:
    """Kind of feed-forward block of an activation's name in a family whose block has a gate, or none."""
    kinds = _GATED if gated else _PLAIN
    value = config.get(key)
    name = default if value is None else value
    if not isinstance(name, str) or name not in kinds:
        raise InvalidArchitecture(f"{key}: unknown value {shown(name)}; accepted: {', '.join(sorted(kinds))}")
    return kinds[name]


def sliding(
    config: Config, layers: int, default: int | None, slides: Callable[[int], bool]
) -> dict[str, Any]:
    """`sliding_window` and `sliding_layers`: the layers `layer_types` names, or those of the family's rule.

    A `sliding_window` of null or 0 means none; `default` is the window where the key is left out.
    """
    if config.get("sliding_window", default) in (None, 0):
        return {}
    types = config.get("layer_types")
    if types is None:
        sliding_layers = tuple(layer for layer in range(min(layers, MAX_LAYERS)) if slides(layer))
    else:
        known = ("sliding_attention", "full_attention")
        if not isinstance(types, list) or len(types) != layers or any(t not in known for t in types):
            raise InvalidArchitecture(
                f'layer_types: expected "sliding_attention" or "full_attention" for each of {layers} layers'
            )
        sliding_layers = tuple(layer for layer, kind in enumerate(types) if kind == "sliding_attention")
    if not sliding_layers:
        return {}
    return {"sliding_window": size(config, "sliding_window", default or 1), "sliding_layers": sliding_layers}


def sharing_from_config(value: object) -> LayerSharing:
    """LayerSharing from {"strategy": ..., "repeat": ...}; None means no sharing."""
    if value is None:
        return LayerSharing()
    if not isinstance(value, Mapping) or not isinstance(value.get("strategy"), str):
        raise InvalidArchitecture(
            f'sharing: expected {{"strategy": "immediate", "repeat": 2}}, got {shown(value)}'
        )
    strategy = parse_enum(SharingStrategy, value["strategy"], "sharing.strategy")
    repeat = value.get("repeat", 1 if strategy is SharingStrategy.NONE else 2)
    if isinstance(repeat, bool) or not isinstance(repeat, int):
        raise InvalidArchitecture(f"sharing.repeat: expected a whole number, got {shown(repeat)}")
    return LayerSharing(strategy=strategy, repeat=repeat)
