"""Values of config.json keys with the checks that every family shares; errors name the key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

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

_T = TypeVar("_T")

PART_NOTE = "text decoder of "  # how the note begins that only part of a model is read

Config = Mapping[str, Any]
Reader = Callable[[Config, str], Architecture]


class RecordedConfig(dict[str, Any]):
    """Keys of a config, with those that a reader asked for and the defaults it took for keys left out."""

    def __init__(self, keys: Config) -> None:
        super().__init__(keys)
        self.asked: set[str] = set()
        self.defaults: dict[str, object] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key and record that it was asked for."""
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


def default_of(config: Config, key: str, value: _T) -> _T:
    """Return the default of a key that is left out, and record that it was taken."""
    if isinstance(config, RecordedConfig):
        config.defaults[key] = value
    return value


# transformers' names of activations (transformers/activations.py, ACT2FN): with a gate, and without one.
_GELUS = ("gelu", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh")
_GATED = {
    "silu": MlpKind.SWIGLU,
    "swish": MlpKind.SWIGLU,
    "relu2": MlpKind.RELU2_GATED,
    **dict.fromkeys(_GELUS, MlpKind.GEGLU),
}
_PLAIN = {"relu": MlpKind.RELU, "relu2": MlpKind.RELU2, **dict.fromkeys(_GELUS, MlpKind.GELU)}


def understood(config: Config, *keys: str) -> None:
    """Record keys as understood that decide nothing here, such as those that repeat others."""
    for key in keys:
        config.get(key)


def integer(config: Config, key: str, default: int | None = None) -> int:
    """Read a whole number under a key; null counts as missing, and missing without a default is an error."""
    value = config.get(key)
    if value is None:
        if default is None:
            raise InvalidArchitecture(f"{key}: missing from the config; expected a whole number")
        return default_of(config, key, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some tools write 131072.0
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArchitecture(f"{key}: expected a whole number, got {shown(value)}")
    return value


def renamed_integer(config: Config, key: str, name: str, default: int | None = None) -> int:
    """Read a whole number under a family's own key or under the common name that transformers accepts too."""
    return integer(config, name if config.get(key) is None and config.get(name) is not None else key, default)


def size(config: Config, key: str, default: int, limit: int = MAX_WIDTH) -> int:
    """Read a whole number from 1 to a limit, for keys used in arithmetic before Architecture checks them."""
    value = integer(config, key, default)
    if not 1 <= value <= limit:
        raise InvalidArchitecture(f"{key}: expected 1 to {limit}, got {shown(value)}")
    return value


def flag(config: Config, key: str, default: bool) -> bool:
    """True or false under a key; null counts as missing."""
    value = config.get(key)
    if value is None:
        return default_of(config, key, default)
    if not isinstance(value, bool):
        raise InvalidArchitecture(f"{key}: expected true or false, got {shown(value)}")
    return value


def head_dim(config: Config, hidden: int, heads: int) -> int:
    """Read `head_dim`, by default the hidden size divided by the heads."""
    if config.get("head_dim") is not None:
        return integer(config, "head_dim")
    return default_of(config, "head_dim", even_head_dim(hidden, heads))


def even_head_dim(hidden: int, heads: int) -> int:
    """Return the hidden size divided by the heads, which must be whole."""
    if heads < 1 or hidden % heads:
        raise InvalidArchitecture(
            f"head_dim: missing, and hidden_size {shown(hidden)} is not a multiple of "
            f"num_attention_heads {shown(heads)}"
        )
    return hidden // heads


def head_dim_or(config: Config, hidden: int, heads: int, default: int | None) -> int:
    """Read `head_dim`; a default stands for a key left out, and null for hidden size over heads."""
    if default is not None and "head_dim" not in config:
        return integer(config, "head_dim", default)
    return head_dim(config, hidden, heads)


def kv_heads(config: Config, heads: int, default: int | None) -> int:
    """Read `num_key_value_heads`; a default stands for a key left out, and null for as many as heads."""
    if default is None or "num_key_value_heads" in config:
        return integer(config, "num_key_value_heads", heads)
    if heads % default:
        raise InvalidArchitecture(
            f"num_key_value_heads: missing, and the default of model_type {shown(config.get('model_type'))}, "
            f"{default}, does not divide num_attention_heads {shown(heads)}"
        )
    return default_of(config, "num_key_value_heads", default)


# Our keys in addition to Hugging Face's: their models keep these facts in remote code, not in config.json.
OWN_FLAGS = ("sub_norms", "shared_mlp")
# Our key for FFN sizes of each layer, for which transformers has none
FFN_SIZES = "layer_intermediate_sizes"


def own_flags(config: Config) -> dict[str, Any]:
    """Read the fields of Architecture that config.json files of ours name."""
    return {key: flag(config, key, False) for key in OWN_FLAGS if config.get(key) is not None}


def activation(config: Config, key: str, default: str, *, gated: bool) -> MlpKind:
    """Return the kind of feed-forward block for an activation's name, with or without a gate."""
    kinds = _GATED if gated else _PLAIN
    value = config.get(key)
    name = default_of(config, key, default) if value is None else value
    if not isinstance(name, str) or name not in kinds:
        raise InvalidArchitecture(f"{key}: unknown value {shown(name)}; accepted: {', '.join(sorted(kinds))}")
    return kinds[name]


def sliding(
    config: Config, layers: int, default: int | None, slides: Callable[[int], bool]
) -> dict[str, Any]:
    """Return `sliding_window` and `sliding_layers`: those in `layer_types`, or by the family's rule.

    A `sliding_window` of null or 0 means none; `default` is the window where the key is left out.
    """
    if config.get("sliding_window", default) in (None, 0):
        understood(config, "layer_types")  # without a window all layers see everything
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


def own_ffn_sizes(config: Config) -> dict[str, Any]:
    """Read FFN sizes by layer, a key of our own; nothing without it."""
    value = config.get(FFN_SIZES)
    if value is None:
        return {}
    if not isinstance(value, Sequence) or not value or any(type(one) is not int for one in value):
        raise InvalidArchitecture(f"{FFN_SIZES}: expected a whole number for each layer, got {shown(value)}")
    return {"intermediate_size": max(value), FFN_SIZES: tuple(value)}


def sharing_from_config(value: object) -> LayerSharing:
    """Read LayerSharing from {"strategy": ..., "repeat": ..., "ends": ...}; None means no sharing."""
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
    ends = value.get("ends", 1 if strategy is SharingStrategy.MIDDLE else 0)
    if isinstance(ends, bool) or not isinstance(ends, int):
        raise InvalidArchitecture(f"sharing.ends: expected a whole number, got {shown(ends)}")
    return LayerSharing(strategy=strategy, repeat=repeat, ends=ends)
