"""Sizes that families of other layers share, read with the defaults of their configuration classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sizer.architecture import MAX_LAYERS
from sizer.errors import InvalidArchitecture, shown
from sizer.families.config_keys import Config, activation, flag, integer, size


class Defaults(NamedTuple):
    """What a configuration class of transformers 5 has for keys that are left out."""

    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int | None  # None: as many as heads
    positions: int
    tied: bool = False


def common(
    config: Config,
    default: Defaults,
    *,
    head_dim: int | None = None,
    intermediate: int | None = None,
    activation_key: str = "hidden_act",
    activation_default: str = "silu",
) -> dict[str, Any]:
    """Read what every decoder with attention has; a head is hidden size over heads wide, rounded down.

    `head_dim` and `intermediate` are given by families that have other keys for them.
    """
    hidden = size(config, "hidden_size", default.hidden)
    heads = size(config, "num_attention_heads", default.heads)
    return {
        "vocab_size": integer(config, "vocab_size", default.vocab),
        "hidden_size": hidden,
        "intermediate_size": intermediate or integer(config, "intermediate_size", default.intermediate),
        "num_layers": size(config, "num_hidden_layers", default.layers, MAX_LAYERS),
        "num_heads": heads,
        "num_kv_heads": kv_heads_or_null(config, heads, default.kv_heads),
        "head_dim": head_dim or integer(config, "head_dim", hidden // heads),
        "mlp": activation(config, activation_key, activation_default, gated=True),
        "max_position_embeddings": integer(config, "max_position_embeddings", default.positions),
        "tie_embeddings": flag(config, "tie_word_embeddings", default.tied),
    }


def kv_heads_or_null(config: Config, heads: int, default: int | None) -> int:
    """Read num_key_value_heads; null means as many as heads, a key left out the class's default."""
    missing = "num_key_value_heads" not in config
    return integer(config, "num_key_value_heads", default if missing and default is not None else heads)


def layer_kinds(
    config: Config, key: str, num_layers: int, meanings: dict[str, str]
) -> tuple[str, ...] | None:
    """Read a list with the kind of every layer; None where the key is left out.

    `meanings` has what each accepted word stands for.
    """
    listed = config.get(key)
    if listed is None:
        return None
    known = isinstance(listed, Sequence) and not isinstance(listed, str)
    if not known or len(listed) != num_layers or any(kind not in meanings for kind in listed):
        words = ", ".join(meanings)
        raise InvalidArchitecture(f"{key}: expected one of {words} for each of {num_layers} layers")
    return tuple(meanings[kind] for kind in listed)


def indices(config: Config, key: str) -> tuple[int, ...]:
    """Read a list of layers; null and a key left out are empty."""
    listed = config.get(key)
    if listed is None:
        return ()
    if not isinstance(listed, Sequence) or any(type(layer) is not int for layer in listed):
        raise InvalidArchitecture(f"{key}: expected a list of layers, got {shown(listed)}")
    return tuple(sorted(set(listed)))


def first_layers(config: Config, key: str, default: int, num_layers: int) -> tuple[int, ...]:
    """Return the first layers, as many as a key has; null is none of them."""
    count = integer(config, key, default)
    return tuple(range(max(0, min(count, num_layers))))


def where(kinds: Sequence[str], kind: str) -> tuple[int, ...]:
    """Return the layers of a kind."""
    return tuple(layer for layer, found in enumerate(kinds) if found == kind)


def scaled_width(config: Config, key: str, default: float, hidden: int) -> int:
    """Return the hidden size times a factor such as `expand`, rounded down."""
    factor = config.get(key, default)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < 1000:
        raise InvalidArchitecture(f"{key}: expected a number from 0 to 1000, got {shown(factor)}")
    return int(factor * hidden)


def time_step_rank(config: Config, key: str, hidden: int) -> int:
    """Return the rank of Mamba's time step: a sixteenth of the hidden size, rounded up, unless given."""
    if config.get(key, "auto") == "auto":
        return -(-hidden // 16)
    return integer(config, key)
