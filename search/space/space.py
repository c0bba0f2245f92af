"""What is searched: the choices a sampler makes, in either of two encodings, before a width is solved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Protocol

from search.space.config import FFN_RATIO_STEP, SearchConfig
from search.space.formats import format_bits, smallest_file_bytes
from sizer.architecture import LayerSharing, SharingStrategy

_Label = str | int | bool


class Questions(Protocol):
    """What is asked for the parameters of a point: an Optuna trial, or whatever answers like one."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices."""
        ...


# Runs of a shared block that need no saying, as in MobileLLM-LS (arXiv 2402.14905, section 3.3).
_USUAL_REPEAT = 2


@unique
class Encoding(StrEnum):
    """How choices among a few are put to the sampler."""

    CATEGORICAL = "categorical"  # by name; for samplers that take categories (TPE, NSGA-II)
    ORDERED = "ordered"  # by number, in an order that means something; for samplers of numbers (GP, CMA-ES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One point of the space, before the width is solved."""

    format: str
    executed_layers: int
    head_dim: int
    query_heads_per_kv_head: int
    ffn_ratio: float
    sharing: SharingStrategy
    size_fraction: float
    repeat: int = _USUAL_REPEAT  # runs of a shared block; says nothing without sharing
    tie_embeddings: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """A dimension of a few options: what they are called, as listed, and their order as numbers."""

    name: str
    labels: tuple[_Label, ...]
    ordered: tuple[_Label, ...]

    def ask(self, trial: Questions, encoding: Encoding) -> _Label:
        """The option the sampler takes; the only one is not asked for."""
        if len(self.labels) == 1:
            return self.labels[0]
        if encoding is Encoding.ORDERED:
            return self.ordered[trial.suggest_int(self._index, 0, len(self.ordered) - 1)]
        return self.labels[self.labels.index(trial.suggest_categorical(self.name, self.labels))]

    def params(self, label: _Label, encoding: Encoding) -> dict[str, Any]:
        """The option as the sampler's parameters, to be enqueued."""
        if len(self.labels) == 1:
            return {}
        if encoding is Encoding.ORDERED:
            return {self._index: self.ordered.index(label)}
        return {self.name: label}

    @property
    def _index(self) -> str:
        # another name: Optuna refuses one parameter with two distributions in a study
        return f"{self.name}_index"


def _choices(config: SearchConfig) -> dict[str, _Choice]:
    """Dimensions of a few options by name; formats in order of bits, sharings of how much is shared."""
    sharings = config.sharings
    by_share = sorted(sharings, key=lambda s: (s.repeat, list(SharingStrategy).index(s.strategy)))
    return {
        choice.name: choice
        for choice in (
            _choice("format", config.formats, lambda name: format_bits(config.runtime, str(name))),
            _choice("head_dim", config.head_dims, float),
            _choice("query_heads_per_kv_head", config.query_heads_per_kv_head, float),
            _choice("tie_embeddings", config.tie_embeddings, float),
            _Choice(
                name="sharing",
                labels=tuple(map(sharing_label, sharings)),
                ordered=tuple(map(sharing_label, by_share)),
            ),
        )
    }


def _choice(name: str, options: Sequence[_Label], rank: Callable[[_Label], float]) -> _Choice:
    labels = tuple(dict.fromkeys(options))
    return _Choice(name=name, labels=labels, ordered=tuple(sorted(labels, key=rank)))


def least_size_fraction(config: SearchConfig) -> float:
    """Smallest share of the size budget tried: the one asked for, or more where no model is as small."""
    smallest = smallest_file_bytes(config) / config.max_size_bytes
    return min(1.0, max(config.min_size_fraction, smallest))


def sharing_label(sharing: LayerSharing) -> str:
    """A way of sharing as one word: "none", "immediate" (blocks run twice), "reverse x3"."""
    usual = sharing.repeat in (1, _USUAL_REPEAT)
    return sharing.strategy.value if usual else f"{sharing.strategy.value} x{sharing.repeat}"


def suggest(trial: Questions, config: SearchConfig, encoding: Encoding = Encoding.CATEGORICAL) -> Proposal:
    """Ask the sampler for a point; the only place that calls trial.suggest_*."""
    choices = _choices(config)
    asked = {name: choice.ask(trial, encoding) for name, choice in choices.items()}
    layers, ratios = config.min_executed_layers, (config.min_ffn_ratio, config.max_ffn_ratio)
    least = least_size_fraction(config)
    sharing = {sharing_label(s): s for s in config.sharings}[str(asked["sharing"])]
    return Proposal(
        format=str(asked["format"]),
        head_dim=int(asked["head_dim"]),
        query_heads_per_kv_head=int(asked["query_heads_per_kv_head"]),
        tie_embeddings=bool(asked["tie_embeddings"]),
        sharing=sharing.strategy,
        repeat=max(_USUAL_REPEAT, sharing.repeat),
        executed_layers=trial.suggest_int("executed_layers", layers, config.max_executed_layers, log=True),
        ffn_ratio=trial.suggest_float("ffn_ratio", *ratios, step=FFN_RATIO_STEP),
        size_fraction=trial.suggest_float("size_fraction", least, 1.0, log=True) if least < 1 else 1.0,
    )


def parameters(
    proposal: Proposal, config: SearchConfig, encoding: Encoding = Encoding.CATEGORICAL
) -> dict[str, Any]:
    """A proposal as the sampler's parameters: what `suggest` reads back as the same proposal."""
    sharing = LayerSharing()
    if proposal.sharing is not SharingStrategy.NONE:
        sharing = LayerSharing(strategy=proposal.sharing, repeat=proposal.repeat)
    labels: dict[str, _Label] = {
        "format": proposal.format,
        "head_dim": proposal.head_dim,
        "query_heads_per_kv_head": proposal.query_heads_per_kv_head,
        "tie_embeddings": proposal.tie_embeddings,
        "sharing": sharing_label(sharing),
    }
    asked: dict[str, Any] = {}
    for name, choice in _choices(config).items():
        asked |= choice.params(labels[name], encoding)
    asked |= {"executed_layers": proposal.executed_layers, "ffn_ratio": proposal.ffn_ratio}
    if least_size_fraction(config) < 1:
        asked["size_fraction"] = proposal.size_fraction
    return asked
