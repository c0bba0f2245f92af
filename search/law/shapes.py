"""What the quality law sees of a model: sizes and ratios of its shape and the bits it is stored in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from search.law.ridge import Floats
from search.store.results import SearchResult, TrialRecord, TrialStatus
from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.runtimes import runtime as runtime_by_name
from sizer.tensors import count_parameters, tensor_specs


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeFeatures:
    """A decoder's shape as numbers that a law can be fitted to; means where layers differ."""

    depth: float  # layers executed
    width: float  # hidden size
    head_dim: float
    kv_ratio: float  # KV heads over query heads
    ffn_ratio: float  # feed-forward width over hidden size
    sharing: float  # layers executed over layers stored
    embedding_ratio: float  # width of the token embedding over hidden size
    bits_per_weight: float  # as deployed
    parameters: float  # weights stored, embeddings included
    attention_parameters: float

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
    embedding_ratio: Floats
    bits_per_weight: Floats
    parameters: Floats

    def __len__(self) -> int:
        return len(self.depth)


Shapes = Sequence[ShapeFeatures] | FeatureColumns


def feature(shapes: Shapes, name: str) -> Floats:
    """One feature of every shape."""
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

    def __post_init__(self) -> None:
        for name in ("size_bytes", "loss"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InvalidQuantity(f"{name} of {self.name}: must be a number above 0, got {value!r}")


def features_of(architecture: Architecture, *, bits_per_weight: float) -> ShapeFeatures:
    """Features of an architecture stored at so many bits a weight.

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
        kv_ratio=a.num_kv_heads / a.num_heads,
        ffn_ratio=sum(widths) / len(widths) / a.hidden_size,
        sharing=a.sharing.repeat,
        embedding_ratio=a.embedding_width / a.hidden_size,
        bits_per_weight=bits_per_weight,
        parameters=counts.total,
        attention_parameters=max(counts.attention, 1),
    )


def stored_bits_per_weight(architecture: Architecture, *, format: str, runtime: str) -> float:
    """Bits a weight takes in the runtime's file of that format, header and tokenizer left out."""
    stored = runtime_by_name(runtime).store(architecture, format)
    return 8 * sum(t.num_bytes for t in stored) / sum(t.spec.num_elements for t in stored)


def trial_features(record: TrialRecord, *, runtime: str) -> ShapeFeatures:
    """Features of what a trial trained, in as many bits as that runtime stores the candidate in."""
    deployed = record.candidate.architecture
    bits = stored_bits_per_weight(deployed, format=record.candidate.format, runtime=runtime)
    return features_of(record.trained_architecture, bits_per_weight=bits)


def model_features(record: TrialRecord, *, runtime: str) -> ShapeFeatures:
    """Features of a trial's own model with the vocabulary of what was trained in its place."""
    deployed = record.candidate.architecture
    bits = stored_bits_per_weight(deployed, format=record.candidate.format, runtime=runtime)
    like_trained = replace(deployed, vocab_size=record.trained_architecture.vocab_size)
    return features_of(like_trained, bits_per_weight=bits)


def law_row(record: TrialRecord, *, runtime: str) -> LawRow | None:
    """What one trial teaches a law; None where its training came to no score."""
    if record.status is not TrialStatus.COMPLETE or record.proxy is None:
        return None
    assert record.proxy.val_bits_per_byte is not None, record.number
    return LawRow(
        name=record.candidate.architecture.name,
        features=trial_features(record, runtime=runtime),
        size_bytes=record.file_bytes,
        loss=record.proxy.val_bits_per_byte,
    )


def law_rows(result: SearchResult) -> tuple[LawRow, ...]:
    """What a study teaches a law: trials trained to a score, each candidate once; never a diverged one."""
    rows = (law_row(record, runtime=result.runtime) for record in result.trained)
    return tuple(row for row in rows if row is not None)
