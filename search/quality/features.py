"""What the quality law sees of a model: its shape, its bits and the tokens it is trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from math import isfinite

import numpy as np

from search.stats.ridge import Floats
from search.store.results import ProxyResult, SearchResult, TrialRecord, TrialStatus
from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.quality.law import TrainedShapes
from sizer.quality.law import shapes as law_shapes
from sizer.quality.lengths import USUAL_TOKENS_PER_WEIGHT
from sizer.runtimes import runtime as runtime_by_name
from sizer.tensors import count_parameters, tensor_specs

# What one run differs by from another of the same model, as a share of its score: seeds move 0.013 to 0.019
# of 2.6 bits per byte after 450 to 1,350 steps (six shapes of 0.5M weights, two seeds each).
RUN_NOISE = 0.006


@unique
class Feature(StrEnum):
    """A feature that models of a search may differ in, named as the field of ShapeFeatures."""

    DEPTH = "depth"
    WIDTH = "width"
    HEAD_DIM = "head_dim"
    KV_RATIO = "kv_ratio"
    FFN_RATIO = "ffn_ratio"
    SHARING = "sharing"
    EXPERTS = "experts"
    EMBEDDING_RATIO = "embedding_ratio"
    BITS_PER_WEIGHT = "bits_per_weight"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeFeatures:
    """A decoder's shape and training as numbers that a law can be fitted to; means where layers differ."""

    depth: float  # layers executed
    width: float  # hidden size
    head_dim: float
    kv_ratio: float  # KV heads over query heads
    ffn_ratio: float  # feed-forward width that a token uses over hidden size
    sharing: float  # layers executed over layers stored
    experts: float = 1.0  # experts stored over those that a token uses
    embedding_ratio: float  # width of the token embedding over hidden size
    bits_per_weight: float  # as deployed
    parameters: float  # weights stored, embeddings included
    attention_parameters: float
    tokens: float  # of training

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InvalidQuantity(f"{name}: must be a number above 0, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureColumns:
    """ShapeFeatures of a hundred thousand decoders, a column for each that a law has a term for."""

    depth: Floats
    width: Floats
    head_dim: Floats
    kv_ratio: Floats
    ffn_ratio: Floats
    sharing: Floats
    experts: Floats
    embedding_ratio: Floats
    bits_per_weight: Floats
    parameters: Floats
    tokens: Floats

    def __len__(self) -> int:
        return len(self.depth)


Shapes = Sequence[ShapeFeatures] | FeatureColumns


def feature(shapes: Shapes, name: str) -> Floats:
    """Return one feature of every shape."""
    if isinstance(shapes, FeatureColumns):
        column: Floats = getattr(shapes, name)
        return column
    return np.array([getattr(shape, name) for shape in shapes], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class LawRow:
    """One trained model: its shape, what it weighs deployed and what it scored."""

    name: str
    features: ShapeFeatures
    size_bytes: float
    loss: float
    runs: int = 1  # seeds that the loss is the mean of

    def __post_init__(self) -> None:
        for name in ("size_bytes", "loss", "runs"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InvalidQuantity(f"{name} of {self.name}: must be a number above 0, got {value!r}")


def law_columns(shapes: Shapes) -> TrainedShapes:
    """Return shapes and their training as the law's columns; weights outside the embedding by the shape.

    The law was fitted to models without experts. Of these all count as weights, so that it expects nothing of
    dividing a feed-forward block: what that does is left to a study's runs.
    """
    width, repeat = feature(shapes, "width"), feature(shapes, "sharing")
    stored = feature(shapes, "depth") / repeat
    attention, ffn = 2 * (1 + feature(shapes, "kv_ratio")), 3 * feature(shapes, "ffn_ratio")
    return law_shapes(
        weights=stored * width**2 * (attention + ffn * feature(shapes, "experts")),
        tokens=feature(shapes, "tokens"),
        aspect=width / stored,
        head_dim=feature(shapes, "head_dim"),
        ffn_ratio=ffn / attention,
        repeat=repeat,
        bits=feature(shapes, "bits_per_weight"),
    )


def columns_without_bits(shapes: Shapes, tokens: Floats | float) -> TrainedShapes:
    """Return shapes after some training as the law's columns; what bits cost is counted apart."""
    models = law_columns(shapes)
    length = np.broadcast_to(np.asarray(tokens, np.float64), (len(models),))
    return replace(models, tokens=length, bits=np.full(len(models), np.nan))


def features_of(
    architecture: Architecture, *, bits_per_weight: float, tokens: float | None = None
) -> ShapeFeatures:
    """Return the features of an architecture stored at `bits_per_weight` and trained for `tokens`.

    Without tokens it is trained for 20 for each weight that it stores.

    >>> tiny = Architecture(
    ...     vocab_size=256, num_layers=3, hidden_size=64, intermediate_size=160, num_heads=4,
    ...     num_kv_heads=1, head_dim=16,
    ... )
    >>> features = features_of(tiny, bits_per_weight=4.5)
    >>> features.depth, features.kv_ratio, features.ffn_ratio, features.attention_parameters
    (3, 0.25, 2.5, 30720)
    """
    a = architecture
    counts = count_parameters(tensor_specs(a))
    widths = a.layer_intermediate_sizes or (a.active_mlp_width,)
    return ShapeFeatures(
        depth=a.executed_layers,
        width=a.hidden_size,
        head_dim=a.head_dim,
        kv_ratio=a.num_kv_heads / max(a.num_heads, 1),
        ffn_ratio=sum(widths) / len(widths) / a.hidden_size,
        sharing=a.sharing.runs_per_block(a.num_layers),
        experts=a.num_experts / a.num_experts_per_tok if a.num_experts else 1.0,
        embedding_ratio=a.embedding_width / a.hidden_size,
        bits_per_weight=bits_per_weight,
        parameters=counts.total,
        attention_parameters=max(counts.attention, 1),
        tokens=USUAL_TOKENS_PER_WEIGHT * counts.total if tokens is None else tokens,
    )


def stored_bits_per_weight(architecture: Architecture, *, format: str, runtime: str) -> float:
    """Return bits per weight in the runtime's file of a format, without header and tokenizer."""
    stored = runtime_by_name(runtime).store(architecture, format)
    return 8 * sum(t.num_bytes for t in stored) / sum(t.spec.num_elements for t in stored)


def trial_features(record: TrialRecord, *, runtime: str, run: ProxyResult | None = None) -> ShapeFeatures:
    """Return the features of what a trial trained, at the bits the runtime stores the candidate in.

    Tokens are those behind the score of `run`; of the trial's longest run without it.
    """
    deployed = record.candidate.architecture
    bits = stored_bits_per_weight(deployed, format=record.candidate.format, runtime=runtime)
    return features_of(
        record.trained_architecture, bits_per_weight=bits, tokens=_tokens(record, run or record.proxy)
    )


def model_features(record: TrialRecord, *, runtime: str, tokens: float | None = None) -> ShapeFeatures:
    """Return the features of a trial's own model, with the vocabulary that was trained.

    Trained for `tokens`; without, for as many as what was trained in its place.
    """
    deployed = record.candidate.architecture
    bits = stored_bits_per_weight(deployed, format=record.candidate.format, runtime=runtime)
    like_trained = replace(deployed, vocab_size=record.trained_architecture.vocab_size)
    return features_of(like_trained, bits_per_weight=bits, tokens=tokens or _tokens(record, record.proxy))


def _tokens(record: TrialRecord, run: ProxyResult | None) -> float | None:
    """Return the tokens behind a score, of one seed; None where none are recorded."""
    if run is None:
        return None
    same = [r.trained_tokens for r in record.runs if r.rung == run.rung and r.status is TrialStatus.COMPLETE]
    return float(max(same, default=0)) or run.trained_tokens / run.seeds or None


def law_row(record: TrialRecord, *, runtime: str, run: ProxyResult | None = None) -> LawRow | None:
    """Return one trial as a row of a law, by its longest run or `run`; None if its training has no score."""
    if record.status is not TrialStatus.COMPLETE or record.proxy is None:
        return None
    scored = run or record.proxy
    assert scored.val_bits_per_byte is not None, record.number
    return LawRow(
        name=record.trained_architecture.name,
        features=trial_features(record, runtime=runtime, run=scored),
        size_bytes=record.file_bytes,
        loss=scored.val_bits_per_byte,
        runs=scored.seeds,
    )


def law_rows(result: SearchResult) -> tuple[LawRow, ...]:
    """Return a study's rows for a law: trained trials, each candidate once, none that diverged."""
    rows = (law_row(record, runtime=result.runtime) for record in result.trained)
    return tuple(row for row in rows if row is not None)
