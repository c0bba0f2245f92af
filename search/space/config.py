"""What a search is asked to do: budget, space, training and corpus; read from TOML or JSON, checked."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum, unique
from pathlib import Path
from typing import Any

from search.proxy.scaled import WIDTH_STEP, check_width_scale
from sizer.architecture import LayerSharing, SharingStrategy, parse_enum
from sizer.device import device as device_by_name
from sizer.errors import InvalidFile, InvalidQuantity, UnknownName
from sizer.runtimes import runtime as runtime_by_name
from sizer.units import parse_bytes

# Byte-level tokens: every text has them, and validation loss is in bits per byte as it stands.
BYTE_VOCABULARY = 256


@unique
class Tokenizer(StrEnum):
    """What a token of the corpus is; a byte-level BPE is learned from the training text."""

    BYTE = "byte"
    BPE = "bpe"


# Feed-forward widths over hidden_size are tried in steps of this.
FFN_RATIO_STEP = 0.5

# Tables a TOML file may sort its fields into; at the top level they are taken as well.
TABLES: Mapping[str, tuple[str, ...]] = {
    "budget": (
        "device",
        "runtime",
        "max_size_bytes",
        "max_memory_bytes",
        "min_decode_tokens_per_s",
        "context_tokens",
    ),
    "space": (
        "vocab_size",
        "formats",
        "allow_fallback",
        "sharing",
        "sharing_repeats",
        "tie_embeddings",
        "head_dims",
        "query_heads_per_kv_head",
        "min_ffn_ratio",
        "max_ffn_ratio",
        "min_executed_layers",
        "max_executed_layers",
        "min_hidden_size",
        "max_hidden_size",
        "min_size_fraction",
    ),
    "training": (
        "trials",
        "sampler",
        "steps",
        "rungs",
        "eta",
        "lowest_rung_steps",
        "size_bins",
        "final_seeds",
        "workers",
        "train_on",
        "batch_size",
        "seq_len",
        "val_chunks",
        "learning_rate",
        "seed",
        "corpus",
        "tokenizer",
        "teacher",
        "keep_finalists",
        "proxy_width_scale",
        "proxy_vocab_size",
    ),
}

# What fields that are younger than a stored study were before they existed.
_BEFORE: Mapping[str, Any] = {
    "sharing_repeats": (2,),
    "tie_embeddings": (True,),
    "allow_fallback": True,
    "sampler": "tpe",
    "rungs": 1,
    "final_seeds": 1,
}

SAMPLERS = ("auto", "law", "gp", "tpe", "nsga2", "random", "quasi-random")

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
    "vocab_size": (BYTE_VOCABULARY, 10_000_000),
    "proxy_vocab_size": (BYTE_VOCABULARY, 10_000_000),
    "rungs": (1, 8),
    "lowest_rung_steps": (1, 10_000_000),
    "size_bins": (1, 64),
    "final_seeds": (1, 32),
    "workers": (1, 512),
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
    sampler: str = "auto"  # a Sampler of search/space/sampling.py
    steps: int = 1000  # of the models that come to the last rung
    rungs: int = 3  # at most; rungs shorter than lowest_rung_steps are left out
    eta: float = 3.0  # one in so many goes on to the next rung, which is so many times as long
    lowest_rung_steps: int = 1000  # earlier rankings have the wrong sign (search notes, section 2.5)
    size_bins: int = 4  # of the logarithm of file bytes; each sends on its share
    final_seeds: int = 3  # runs of each finalist that cannot be told from its neighbour
    workers: int = 1  # models trained at a time
    train_on: str = "cpu"  # a name of search/proxy/accelerator.py
    batch_size: int = 8
    seq_len: int = 128
    val_chunks: int = 64
    learning_rate: float | None = None  # None: the trainer's own, scaled to each shape
    seed: int = 0
    corpus: str = "builtin"
    tokenizer: str = "byte"  # or "bpe", of as many tokens as what is trained has rows for
    keep_finalists: bool = False  # whether checkpoints of the last runs stay, to teach or to be exported
    teacher: str | None = None  # checkpoint of a trained proxy that every model learns from as well
    proxy_width_scale: float | None = None  # train models this much narrower in place of the candidates
    proxy_vocab_size: int | None = None  # and with a vocabulary of so many tokens
    vocab_size: int = BYTE_VOCABULARY
    formats: tuple[str, ...] = ("TQ1_0", "Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_0", "Q6_K", "Q8_0", "F16")
    allow_fallback: bool = False  # whether rows may be of a length for which the format stores another type
    sharing: tuple[str, ...] = ("none", "immediate", "repeat-all", "reverse")
    sharing_repeats: tuple[int, ...] = (2, 3, 4)  # runs of a shared block
    tie_embeddings: tuple[bool, ...] = (True, False)
    head_dims: tuple[int, ...] = (32, 64)
    query_heads_per_kv_head: tuple[int, ...] = (1, 2, 4)
    min_ffn_ratio: float = 1.5  # intermediate_size over hidden_size, before it is adjusted to fill the budget
    max_ffn_ratio: float = 4.0
    min_executed_layers: int = 2
    max_executed_layers: int = 24
    min_hidden_size: int = 32
    max_hidden_size: int = 1024
    min_size_fraction: float = 0.2  # smallest file tried, as a share of max_size_bytes

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_lists(self)
        _check_names(self)

    @property
    def sharings(self) -> tuple[LayerSharing, ...]:
        """Ways of sharing that the deepest model has layers for, as listed."""
        strategies = [parse_enum(SharingStrategy, name, "sharing") for name in self.sharing]
        repeats = [repeat for repeat in self.sharing_repeats if repeat <= self.max_executed_layers]
        return tuple(
            LayerSharing(strategy=strategy, repeat=repeat)
            for strategy in strategies
            for repeat in ((1,) if strategy is SharingStrategy.NONE else repeats)
        )

    @property
    def trained_vocab_size(self) -> int:
        """Rows of the embedding table of the models that are trained."""
        return self.vocab_size if self.proxy_vocab_size is None else self.proxy_vocab_size

    def to_dict(self) -> dict[str, Any]:
        """Fields as plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def _check_numbers(config: SearchConfig) -> None:
    for name, (low, high) in _LIMITS.items():
        value = getattr(config, name)
        if value is not None and not _is_whole(value, low, high):
            raise InvalidQuantity(f"{name}: must be a whole number from {low} to {high}, got {value!r}")
    for name in ("executed_layers", "hidden_size", "ffn_ratio"):
        low, high = getattr(config, f"min_{name}"), getattr(config, f"max_{name}")
        if low > high:
            raise InvalidQuantity(f"min_{name}: must not exceed max_{name}, got {low} and {high}")
    if not 0 < config.min_size_fraction <= 1:
        raise InvalidQuantity(
            f"min_size_fraction: must be above 0 and at most 1, got {config.min_size_fraction!r}"
        )
    for name in ("min_ffn_ratio", "max_ffn_ratio"):
        ratio = getattr(config, name)
        if not 0.5 <= ratio <= 16 or ratio % FFN_RATIO_STEP:
            raise InvalidQuantity(
                f"{name}: must be a multiple of {FFN_RATIO_STEP:g} from 0.5 to 16, got {ratio!r}"
            )
    for name in ("min_decode_tokens_per_s", "learning_rate"):
        value = getattr(config, name)
        if value is not None and (isinstance(value, bool) or not 0 < value < math.inf):
            raise InvalidQuantity(f"{name}: must be more than 0, got {value!r}")

    _check_proxies(config)
    if not 1 < config.eta <= 100:
        raise InvalidQuantity(f"eta: must be above 1 and at most 100, got {config.eta!r}")


def _check_proxies(config: SearchConfig) -> None:
    if config.proxy_width_scale is not None:
        check_width_scale("proxy_width_scale", config.proxy_width_scale)
        for value in config.head_dims:
            if value % WIDTH_STEP:
                raise InvalidQuantity(
                    f"head_dims: must be multiples of {WIDTH_STEP} with proxy_width_scale, got {value}"
                )
    if config.trained_vocab_size > config.vocab_size:
        raise InvalidQuantity(
            f"proxy_vocab_size: must not exceed vocab_size, which is {config.vocab_size}, "
            f"got {config.proxy_vocab_size}"
        )


def _check_lists(config: SearchConfig) -> None:
    for name, least, most in (
        ("head_dims", 1, 4096),
        ("query_heads_per_kv_head", 1, 4096),
        ("sharing_repeats", 2, 64),
    ):
        for value in _some(config, name):
            if not _is_whole(value, least, most):
                raise InvalidQuantity(f"{name}: must be whole numbers from {least} to {most}, got {value!r}")
    for value in config.head_dims:
        if value % 2:
            raise InvalidQuantity(f"head_dims: must be even for rotary positions, got {value}")
    for tied in _some(config, "tie_embeddings"):
        if not isinstance(tied, bool):
            raise InvalidQuantity(f"tie_embeddings: must be true or false, got {tied!r}")
    for strategy in _some(config, "sharing"):
        parse_enum(SharingStrategy, str(strategy), "sharing")
    if not config.sharings:
        raise InvalidQuantity(
            f"sharing_repeats: needs a number up to max_executed_layers, which is "
            f"{config.max_executed_layers}, got {list(config.sharing_repeats)}"
        )


def _check_names(config: SearchConfig) -> None:
    if config.sampler not in SAMPLERS:
        raise UnknownName.of("sampler", config.sampler, SAMPLERS)
    tokenizer = parse_enum(Tokenizer, config.tokenizer, "tokenizer")
    if tokenizer is Tokenizer.BPE and config.trained_vocab_size <= BYTE_VOCABULARY:
        field = "vocab_size" if config.proxy_vocab_size is None else "proxy_vocab_size"
        raise InvalidQuantity(
            f"{field}: tokenizer 'bpe' has a token for each of {BYTE_VOCABULARY} bytes and needs more, "
            f"got {config.trained_vocab_size}; accepted: such as 4096"
        )
    engine = runtime_by_name(config.runtime)
    for name in _some(config, "formats"):
        engine.format_name(str(name))
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
    """SearchConfig from plain values, in tables or not; an unknown key is an error that lists the known."""
    known = {f.name: f for f in fields(SearchConfig)}
    read: dict[str, Any] = {}
    for key, value in flat(values, where).items():
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


def stored_config(values: Mapping[str, Any], where: str) -> SearchConfig:
    """SearchConfig of a stored study: fields it does not know are as the search was without them."""
    return config_from_dict({**_BEFORE, **values}, where)


def flat(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fields without their tables; one in another table than its own, or given twice, is an error."""
    table_of = {field: table for table, names in TABLES.items() for field in names}
    found = {key: value for key, value in values.items() if key not in TABLES}
    for table in TABLES:
        inside = values.get(table, {})
        if not isinstance(inside, Mapping):
            raise InvalidQuantity(f"{table}: must be a table of fields in {where}, got {inside!r}")
        for key, value in inside.items():
            if key not in table_of:
                raise UnknownName.of(f"key in [{table}] of {where}", key, TABLES[table])
            if table_of[key] != table:
                raise InvalidQuantity(f"{key}: belongs in [{table_of[key]}] of {where}, got it in [{table}]")
            if key in found:
                raise InvalidQuantity(f"{key}: is given twice in {where}, in [{table}] and outside of it")
            found[key] = value
    return found


def _accepted_types(annotation: str) -> tuple[type, ...]:
    names = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,), "None": (type(None),)}
    return tuple(t for part in annotation.split(" | ") for t in names[part])


def load_config(path: Path) -> SearchConfig:
    """SearchConfig from a TOML file of its fields; sizes may be text such as "2MB"."""
    return config_from_dict(read_toml(path), where=str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Values of a TOML file; InvalidFile says why it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InvalidFile(f"config: cannot read {str(path)!r}: {reason}; accepted: a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidFile(f"config: {str(path)!r} is not valid TOML: {error}") from None
