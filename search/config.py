"""What a search is asked to do: budget, space, training and corpus; read from TOML or JSON, checked."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sizer.architecture import SharingStrategy, parse_enum
from sizer.device import device as device_by_name
from sizer.errors import InvalidFile, InvalidQuantity, UnknownName
from sizer.runtimes import runtime as runtime_by_name
from sizer.units import parse_bytes

# Byte-level tokens: every text has them, and validation loss is in bits per byte as it stands.
BYTE_VOCABULARY = 256

_LIMITS = {
    "trials": (1, 100_000),
    "steps": (1, 10_000_000),
    "batch_size": (1, 4096),
    "seq_len": (8, 8192),
    "val_chunks": (2, 100_000),
    "max_size_bytes": (10_000, 10**12),
    "max_memory_bytes": (1_000_000, 10**13),
    "min_executed_layers": (1, 512),
    "max_executed_layers": (1, 512),
    "min_hidden_size": (16, 65536),
    "max_hidden_size": (16, 65536),
    "context_tokens": (32, 1 << 20),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """Everything that decides a search's outcome on a given machine; saved with the study."""

    device: str | None = "raspberry-pi-5"
    runtime: str = "llama.cpp"
    max_size_bytes: int = 2_000_000
    max_memory_bytes: int | None = None
    min_decode_tokens_per_s: float | None = None
    context_tokens: int = 2048
    trials: int = 20
    steps: int = 1000
    batch_size: int = 8
    seq_len: int = 128
    val_chunks: int = 64
    learning_rate: float | None = None  # None: the trainer's own, scaled to each shape
    seed: int = 0
    corpus: str = "builtin"
    formats: tuple[str, ...] = ("Q4_0", "Q4_K_M", "Q8_0")
    sharing: tuple[str, ...] = ("none", "immediate", "repeat-all", "reverse")
    head_dims: tuple[int, ...] = (32, 64)
    query_heads_per_kv_head: tuple[int, ...] = (1, 2, 4)
    min_executed_layers: int = 2
    max_executed_layers: int = 24
    min_hidden_size: int = 64
    max_hidden_size: int = 1024
    min_size_fraction: float = 0.2  # smallest file tried, as a share of max_size_bytes

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_names(self)

    def to_dict(self) -> dict[str, Any]:
        """Fields as plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def _check_numbers(config: SearchConfig) -> None:
    for name, (low, high) in _LIMITS.items():
        value = getattr(config, name)
        if value is not None and not _is_whole(value, low, high):
            raise InvalidQuantity(f"{name}: must be a whole number from {low} to {high}, got {value!r}")
    for name in ("executed_layers", "hidden_size"):
        low, high = getattr(config, f"min_{name}"), getattr(config, f"max_{name}")
        if low > high:
            raise InvalidQuantity(f"min_{name}: must not exceed max_{name}, got {low} and {high}")
    if not 0 < config.min_size_fraction <= 1:
        raise InvalidQuantity(
            f"min_size_fraction: must be above 0 and at most 1, got {config.min_size_fraction!r}"
        )
    for name in ("min_decode_tokens_per_s", "learning_rate"):
        value = getattr(config, name)
        if value is not None and (isinstance(value, bool) or not 0 < value < math.inf):
            raise InvalidQuantity(f"{name}: must be more than 0, got {value!r}")
    for name in ("head_dims", "query_heads_per_kv_head"):
        for value in _some(config, name):
            if not _is_whole(value, 1, 4096):
                raise InvalidQuantity(f"{name}: must be whole numbers from 1 to 4096, got {value!r}")


def _check_names(config: SearchConfig) -> None:
    engine = runtime_by_name(config.runtime)
    for name in _some(config, "formats"):
        engine.format_name(str(name))
    for name in _some(config, "sharing"):
        parse_enum(SharingStrategy, str(name), "sharing")
    if config.device is not None:
        device_by_name(config.device)
    elif config.min_decode_tokens_per_s is not None:
        raise InvalidQuantity("min_decode_tokens_per_s: needs a device to predict speed on")


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _some(config: SearchConfig, name: str) -> tuple[object, ...]:
    values: tuple[object, ...] = getattr(config, name)
    if not values:
        raise InvalidQuantity(f"{name}: must name at least one")
    return values


def config_from_dict(values: Mapping[str, Any], where: str = "config") -> SearchConfig:
    """SearchConfig from plain values; an unknown key is an error that lists the known ones."""
    known = {f.name: f for f in fields(SearchConfig)}
    read: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UnknownName.of(f"key in {where}", key, known)
        if key in ("max_size_bytes", "max_memory_bytes") and isinstance(value, str):
            read[key] = parse_bytes(value, key)
        elif str(known[key].type).startswith("tuple"):
            if not isinstance(value, list | tuple):
                raise InvalidQuantity(f"{key}: must be a list, got {value!r}")
            read[key] = tuple(value)
        else:
            accepted = _accepted_types(str(known[key].type))
            if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
                raise InvalidQuantity(f"{key}: must be {known[key].type}, got {value!r}")
            read[key] = value
    return replace(SearchConfig(), **read)


def _accepted_types(annotation: str) -> tuple[type, ...]:
    names = {"int": (int,), "float": (int, float), "str": (str,), "None": (type(None),)}
    return tuple(t for part in annotation.split(" | ") for t in names[part])


def load_config(path: Path) -> SearchConfig:
    """SearchConfig from a TOML file of its fields; sizes may be text such as "2MB"."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InvalidFile(f"config: cannot read {str(path)!r}: {reason}; accepted: a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidFile(f"config: {str(path)!r} is not valid TOML: {error}") from None
    return config_from_dict(values, where=str(path))
