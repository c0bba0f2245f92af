"""Configuration of a search: budget, space and training, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from enum import StrEnum, unique
from typing import Any

from search.config.budget import Budget
from search.config.convolutions import LONGEST_KERNEL, Convolutions, check_convolutions, convolutions_of
from search.config.engine_checks import check_engine
from search.config.experts import FEWEST_USED, MOST_EXPERTS, Experts, check_experts, experts_of
from search.config.fields import POSITIVE, FieldLimits, check_fields, holds_several, setting, whole
from search.config.format_bits import usual_formats
from search.config.objectives import Objective
from search.config.proxy_width import WIDTH_SCALES, check_proxies
from search.config.windows import MOST_POSITIONS, Windows, check_windows, windows_of
from sizer.architecture import LayerSharing, SharingStrategy, parse_enum
from sizer.errors import InvalidQuantity, UnknownName

# Byte-level tokens: every text has them, and validation loss is in bits per byte without conversion.
BYTE_VOCABULARY = 256


@unique
class Tokenizer(StrEnum):
    """What a token of the corpus is; a byte-level BPE is learned from the training text."""

    BYTE = "byte"
    BPE = "bpe"


# Step between the ratios of intermediate_size to hidden_size that are tried.
FFN_RATIO_STEP = 0.5

SAMPLERS = ("auto", "law", "gp", "tpe", "nsga2", "random", "quasi-random")

_STEPS = whole(1, 10_000_000)
_VOCABULARY = whole(BYTE_VOCABULARY, 10_000_000)
_LAYERS = whole(1, 512)
_WIDTH = whole(16, 65536)
_RATIO = FieldLimits(low=0.5, high=16, multiple_of=FFN_RATIO_STEP)
_SHARE = FieldLimits(low=0, high=1, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The models that a search chooses from."""

    vocab_size: tuple[int, ...] = setting(
        (BYTE_VOCABULARY,),
        "rows of the embedding table; 256 is a byte each, a BPE needs more and is trained for each size",
        _VOCABULARY,
    )
    formats: tuple[str, ...] = setting(
        ("TQ1_0", "Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_0", "Q6_K", "Q8_0", "F16"),
        "weight formats of the runtime; of other runtimes than llama.cpp those that their users know by bits",
        option="format",
    )
    allow_fallback: bool = setting(
        False,
        "allow rows of any multiple of 32, also where the runtime then stores another type",
        before=True,
    )
    sharing: tuple[str, ...] = setting(
        ("none", "immediate", "repeat-all", "reverse"),
        "orders in which shared blocks run",
        choices=SharingStrategy,
    )
    sharing_repeats: tuple[int, ...] = setting(
        (2, 3, 4), "how many times a shared block runs", whole(2, 64), before=(2,)
    )
    sharing_ends: tuple[int, ...] = setting(
        (1,), "blocks at each end that run once where `sharing` is `middle`", whole(1, 64)
    )
    tie_embeddings: tuple[bool, ...] = setting(
        (True, False), "whether the head is the embedding table", before=(True,)
    )
    head_dims: tuple[int, ...] = setting(
        (32, 64), "widths of an attention head; even numbers", whole(1, 4096), option="head-dim"
    )
    query_heads_per_kv_head: tuple[int, ...] = setting(
        (1, 2, 4), "query heads that share one KV head", whole(1, 4096), option="kv-ratio"
    )
    min_ffn_ratio: float = setting(
        1.5,
        "smallest intermediate_size over hidden_size, before it is adjusted to fill the budget",
        _RATIO,
        option="ffn-ratio",
    )
    max_ffn_ratio: float = setting(
        4.0, "largest intermediate_size over hidden_size", _RATIO, option="ffn-ratio"
    )
    ffn_growths: tuple[float, ...] = setting(
        (1.0,),
        "FFN sizes of the last layer over that of the first; 1 is one size for all layers",
        FieldLimits(low=0.125, high=8),
        option="ffn-growth",
    )
    experts: tuple[int, ...] = setting(
        (1,),
        "experts that each feed-forward block is divided into; 1 is one block for all tokens",
        whole(1, MOST_EXPERTS),
    )
    experts_used: tuple[int, ...] = setting(
        (2,), "with several experts, how many of them a token uses", whole(FEWEST_USED, MOST_EXPERTS)
    )
    windows: tuple[int, ...] = setting(
        (0,),
        "positions that sliding layers look back on; 0 is none, every layer sees the whole context",
        whole(0, MOST_POSITIONS),
        option="window",
    )
    convolutions: tuple[int, ...] = setting(
        (0,),
        "positions of a short convolution in place of attention; 0 is none, every layer has attention",
        whole(0, LONGEST_KERNEL),
        option="convolution",
    )
    full_every: tuple[int, ...] = setting(
        (4,),
        "with windows or convolutions, every Nth layer has attention over the whole context, counted back "
        "from the last",
        whole(2, 64),
    )
    min_executed_layers: int = setting(
        2, "smallest depth, shared blocks counted each time they run", _LAYERS, option="layers"
    )
    max_executed_layers: int = setting(24, "largest depth", _LAYERS, option="layers")
    min_hidden_size: int = setting(32, "smallest hidden size", _WIDTH, option="hidden-size")
    max_hidden_size: int = setting(1024, "largest hidden size", _WIDTH, option="hidden-size")
    cache_types: tuple[str, ...] = setting(
        (),
        "types of KV cache of the runtime; its usual one where none is named",
        option="cache-type",
        may_be_empty=True,
    )
    min_size_fraction: float = setting(
        0.2,
        "smallest file aimed at, as a share of `max_size_bytes`; raised to the smallest model there is",
        _SHARE,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for value in self.head_dims:
            if value % 2:
                raise InvalidQuantity(f"head_dims: must be even for rotary positions, got {value}")
        if not self.sharings:
            middle = SharingStrategy.MIDDLE.value in self.sharing
            ends = f" less the blocks at both ends ({list(self.sharing_ends)} each)" if middle else ""
            raise InvalidQuantity(
                f"sharing_repeats: needs a number up to max_executed_layers, which is "
                f"{self.max_executed_layers}{ends}, got {list(self.sharing_repeats)}"
            )

    @property
    def sharings(self) -> tuple[LayerSharing, ...]:
        """Ways of sharing that the deepest model has layers for, as listed."""
        strategies = [parse_enum(SharingStrategy, name, "sharing") for name in self.sharing]
        every = (
            LayerSharing(strategy=strategy, repeat=repeat, ends=ends)
            for strategy in strategies
            for repeat in ((1,) if strategy is SharingStrategy.NONE else self.sharing_repeats)
            for ends in (self.sharing_ends if strategy is SharingStrategy.MIDDLE else (0,))
        )
        return tuple(s for s in every if s.executed(s.fewest_layers) <= self.max_executed_layers)

    @property
    def expert_mixes(self) -> tuple[Experts, ...]:
        """Experts with those that a token uses, as listed."""
        return experts_of(self.experts, self.experts_used)

    @property
    def window_patterns(self) -> tuple[Windows, ...]:
        """Windows with the layers that have none, as listed."""
        return windows_of(self.windows, self.full_every)

    @property
    def convolution_patterns(self) -> tuple[Convolutions, ...]:
        """Convolutions with the layers that have attention, as listed."""
        return convolutions_of(self.convolutions, self.full_every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How models are chosen, trained and scored."""

    trials: int = setting(20, "models to train", whole(1, 100_000))
    sampler: str = setting("auto", "how the next model is chosen", choices=SAMPLERS, before="tpe")
    steps: int = setting(1000, "training steps in the final rung", _STEPS)
    rungs: int = setting(
        3, "most training lengths; those below `lowest_rung_steps` are left out", whole(1, 8), before=1
    )
    eta: float = setting(
        3.0,
        "one in `eta` models is promoted to the next rung, which is `eta` times as long",
        FieldLimits(low=1, high=100, above=True),
    )
    lowest_rung_steps: int = setting(
        1000, "steps of the shortest rung; rankings from shorter runs have the wrong sign", _STEPS
    )
    size_bins: int = setting(
        4, "bins of log file size, each of which promotes its own share of models", whole(1, 64)
    )
    final_seeds: int = setting(
        3,
        "seeds with which a finalist is trained that is tied with its neighbour",
        whole(1, 32),
        before=1,
    )
    audit_pairs: int = setting(
        1,
        "pairs of models of one size that are trained to the end, with two seeds, whatever they scored; none "
        "where `final_seeds` is 1",
        whole(0, 32),
        before=0,
    )
    workers: int = setting(1, "models trained at the same time, each on its own cores", whole(1, 4096))
    train_on: str = setting(
        "cpu",
        '`"cpu"`, `"cuda"` or `"mps"`: the last two train by autograd in bfloat16, compiled by torch for '
        "runs of 5,000 steps and more on CUDA; they have never been run on real hardware",
    )
    batch_size: int = setting(8, "sequences in a step", whole(1, 4096))
    seq_len: int = setting(128, "tokens in a sequence", whole(8, 8192))
    val_chunks: int = setting(
        384, "pieces of the validation text, `seq_len` bytes each, that score a model", whole(2, 100_000)
    )
    learning_rate: float | None = setting(
        None, "base learning rate; the trainer's own, scaled to each shape, where not given", POSITIVE
    )
    seed: int = setting(0, "seed of suggestions, weights and batches", whole(0, 2**31 - 1))
    corpus: str = setting("builtin", "a file, a directory or `hf:NAME`; see below")
    tokenizer: str = setting("byte", "what a token is; a BPE has `vocab_size` tokens", choices=Tokenizer)
    keep_finalists: bool = setting(
        True, "keep the weights of the last runs in `runs/NAME/finalists`, for `sizer export`", before=False
    )
    teacher: str | None = setting(
        None, "checkpoint of a trained proxy, from whose predictions every model learns as well"
    )
    proxy_width_scale: float | None = setting(
        None, "width of the proxies over that of the models; see below", WIDTH_SCALES
    )
    proxy_vocab_size: int | None = setting(None, "rows of the proxies' embedding table", _VOCABULARY)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """Everything that decides a search's outcome on a given machine; saved with the study."""

    budget: Budget = field(default_factory=Budget)
    training: Training = field(default_factory=Training)
    space: Space = field(default_factory=Space)

    def __post_init__(self) -> None:
        space = self.space
        check_engine(
            self.budget.runtime,
            formats=space.formats,
            cache_types=space.cache_types,
            head_dims=space.head_dims,
            ffn_growths=space.ffn_growths,
            experts=space.experts,
            windows=space.windows,
            convolutions=space.convolutions,
        )
        check_convolutions(space.convolutions, space.sharing)
        check_experts(space.experts, space.experts_used)
        check_windows(space.windows, self.training.seq_len)
        scale, rows = self.training.proxy_width_scale, self.training.proxy_vocab_size
        check_proxies(scale, rows, space.head_dims, space.vocab_size)
        self._check_tokenizer()

    @classmethod
    def build(cls, **values: Any) -> SearchConfig:
        """Return the default search with some fields changed, each by its own name."""
        return cls().changed(**values)

    def changed(self, **values: Any) -> SearchConfig:
        """Return the search with some fields changed, each by its own name."""
        unknown = next((name for name in values if name not in FIELDS), None)
        if unknown is not None:
            raise UnknownName.of("field of a search", unknown, FIELDS)
        values = {name: _as_held(FIELDS[name], value) for name, value in values.items()}
        if "formats" not in values and values.get("runtime", self.budget.runtime) != self.budget.runtime:
            values["formats"] = usual_formats(values["runtime"])
        tables = {
            table: replace(getattr(self, table), **{k: values[k] for k in names if k in values})
            for table, names in TABLES.items()
        }
        return SearchConfig(**tables)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is weighed against the loss."""
        return tuple(parse_enum(Objective, name, "objectives") for name in self.budget.objectives)

    @property
    def trained_vocab_sizes(self) -> tuple[int, ...]:
        """Rows of the embedding tables of the models that are trained, each size once."""
        proxy = self.training.proxy_vocab_size
        return tuple(dict.fromkeys(self.space.vocab_size)) if proxy is None else (proxy,)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of all tables as plain JSON values, flat as studies store them."""
        values = {name: value for table in asdict(self).values() for name, value in table.items()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def _check_tokenizer(self) -> None:
        tokenizer = parse_enum(Tokenizer, self.training.tokenizer, "tokenizer")
        sizes = self.trained_vocab_sizes
        if tokenizer is Tokenizer.BPE and max(sizes) <= BYTE_VOCABULARY:
            name = "vocab_size" if self.training.proxy_vocab_size is None else "proxy_vocab_size"
            raise InvalidQuantity(
                f"{name}: tokenizer 'bpe' has a token for each of {BYTE_VOCABULARY} bytes and needs more, "
                f"got {max(sizes)}; accepted: such as 4096"
            )
        if tokenizer is Tokenizer.BYTE and len(sizes) > 1:
            raise InvalidQuantity(
                f"vocab_size: tokenizer 'byte' has {BYTE_VOCABULARY} tokens in any table, got {len(sizes)} "
                "sizes; accepted: one size, or tokenizer 'bpe'"
            )

    def tokenizer_of(self, vocab_size: int) -> Tokenizer:
        """Return what a token of models with that many rows is: of a BPE's sizes 256 is a byte each."""
        tokenizer = parse_enum(Tokenizer, self.training.tokenizer, "tokenizer")
        return Tokenizer.BYTE if vocab_size <= BYTE_VOCABULARY else tokenizer


def _as_held(one: Field[Any], value: Any) -> Any:
    """Return a value as its field holds it: one alone as a tuple of one, cache types in capitals."""
    if holds_several(one) and not isinstance(value, tuple):
        value = tuple(value) if isinstance(value, list) else (value,)
    return tuple(str(name).upper() for name in value) if one.name == "cache_types" else value


# Tables of a TOML file, each with its fields by name; at the top level fields are accepted as well.
TABLES: Mapping[str, Mapping[str, Field[Any]]] = {
    table: {one.name: one for one in fields(kind)}
    for table, kind in (("budget", Budget), ("space", Space), ("training", Training))
}
FIELDS: Mapping[str, Field[Any]] = {name: one for names in TABLES.values() for name, one in names.items()}
