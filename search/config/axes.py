"""The axes of the search space, each declared once.

A field of `Suggestion` is an axis: its options or range, its order for samplers of numbers, its label and its
help. Samplers, initial points, documentation and figures read them from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from search.config.config import FFN_RATIO_STEP, SearchConfig
from search.config.convolutions import Convolutions
from search.config.experts import Experts
from search.config.format_bits import format_bits
from search.config.windows import Windows
from sizer.architecture import LayerSharing, SharingStrategy
from sizer.runtimes import runtime as runtime_by_name

Label = str | int | bool

# Repeats of a shared block that a label leaves out, as in MobileLLM-LS (arXiv 2402.14905, section 3.3).
_USUAL_REPEAT = 2


def sharing_label(sharing: LayerSharing) -> str:
    """Return a way of sharing in words: "none", "immediate" (blocks run twice), "middle x3 ends 1"."""
    times = "" if sharing.repeat in (1, _USUAL_REPEAT) else f" x{sharing.repeat}"
    return f"{sharing.strategy.value}{times}" + (f" ends {sharing.ends}" if sharing.ends else "")


def _same(value: Any) -> Label:
    label: Label = value
    return label


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A choice among a few values that a field of the space lists."""

    listed: str  # attribute of Space
    rank: Callable[[SearchConfig, Any], Any] = lambda _, value: value  # order for samplers of numbers
    usual: Callable[[SearchConfig], Any] | None = None  # the option where none is listed
    label: Callable[[Any], Label] = _same  # what a sampler of categories stores

    def values(self, config: SearchConfig) -> tuple[Any, ...]:
        """Return the options as listed, each once."""
        listed = tuple(dict.fromkeys(getattr(config.space, self.listed)))
        return (self.usual(config),) if self.usual is not None and not listed else listed

    def ordered(self, config: SearchConfig) -> tuple[Any, ...]:
        """Return the options in an order that means something."""
        return tuple(sorted(self.values(config), key=lambda value: self.rank(config, value)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A number between two fields of the space."""

    low: str  # attributes of Space
    high: str | float
    step: float | None = None
    whole: bool = False
    log: bool = False
    ask_single: bool = True  # whether the sampler is asked even where only one value is left

    def bounds(self, config: SearchConfig) -> tuple[Any, Any]:
        """Return the lowest and the highest value."""
        high = getattr(config.space, self.high) if isinstance(self.high, str) else self.high
        return getattr(config.space, self.low), high


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One choice of a suggestion: its name, its values, its words."""

    name: str
    values: Options | Range
    label: str
    help: str


def _axis(values: Options | Range, label: str, help: str) -> Any:
    return field(metadata={"values": values, "label": label, "help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One point of the space, before a width is solved. The sampler is asked for its axes in this order."""

    format: str = _axis(
        Options(
            listed="formats",
            rank=lambda config, name: format_bits(config.budget.runtime, name),
        ),
        "format",
        "weight formats of the runtime in which a model can be scored, from 1.58 bits to 16",
    )
    head_dim: int = _axis(Options(listed="head_dims"), "head size", "width of an attention head")
    query_heads_per_kv_head: int = _axis(
        Options(listed="query_heads_per_kv_head"),
        "query heads per KV head",
        "query heads that share a KV head",
    )
    tie_embeddings: bool = _axis(
        Options(listed="tie_embeddings"), "tied embeddings", "whether the head is the embedding table"
    )
    sharing: LayerSharing = _axis(
        Options(
            listed="sharings",
            rank=lambda _, sharing: (
                sharing.repeat,
                list(SharingStrategy).index(sharing.strategy),
                sharing.ends,
            ),
            label=sharing_label,
        ),
        "block sharing",
        "none, or blocks run 2, 3 or 4 times: each in a row (immediate), all in turn (repeat-all), there and "
        "back (reverse), or all in turn but the blocks at the ends (middle)",
    )
    executed_layers: int = _axis(
        Range(low="min_executed_layers", high="max_executed_layers", whole=True, log=True),
        "layers executed",
        "depth: blocks, counted each time they run, on a logarithmic scale",
    )
    ffn_ratio: float = _axis(
        Range(low="min_ffn_ratio", high="max_ffn_ratio", step=FFN_RATIO_STEP),
        "FFN ratio",
        f"`intermediate_size` over `hidden_size`, in steps of {FFN_RATIO_STEP:g}",
    )
    ffn_growth: float = _axis(
        Options(listed="ffn_growths", label=lambda value: f"{value:g}"),
        "FFN growth",
        "FFN size of the last layer over that of the first, linear over depth with the same mean",
    )
    experts: Experts = _axis(
        Options(
            listed="expert_mixes", rank=lambda _, value: value.unused, label=lambda value: str(value.label)
        ),
        "experts",
        "none, or experts that each feed-forward block is divided into, of which a token uses a few",
    )
    windows: Windows = _axis(
        Options(
            listed="window_patterns", rank=lambda _, value: value.reach, label=lambda value: str(value.label)
        ),
        "sliding windows",
        "none, or positions that layers look back on, all but every Nth, with a sink for each head",
    )
    convolutions: Convolutions = _axis(
        Options(
            listed="convolution_patterns",
            rank=lambda _, value: value.reach,
            label=lambda value: str(value.label),
        ),
        "short convolutions",
        "none, or positions that a gated convolution spans instead of attention, all layers but every Nth",
    )
    size_fraction: float = _axis(
        Range(low="min_size_fraction", high=1.0, log=True, ask_single=False),
        "share of the size budget",
        "how much of the size budget the file should take, on a logarithmic scale: the frontier needs small "
        "models too",
    )
    vocab_size: int = _axis(
        Options(listed="vocab_size"),
        "vocabulary size",
        "rows of the embedding table, each size with a tokenizer of its size trained on the text",
    )
    cache_type: str = _axis(
        Options(
            listed="cache_types",
            rank=lambda config, name: runtime_by_name(config.budget.runtime).cache_types.index(name),
            usual=lambda config: runtime_by_name(config.budget.runtime).cache_types[0],
        ),
        "KV cache type",
        "types of the runtime's KV cache; models are scored with keys and values rounded to it",
    )


AXES: Mapping[str, Axis] = {one.name: Axis(name=one.name, **one.metadata) for one in fields(Suggestion)}
