"""What a model would reach after its training: loss, accuracy with its range, the cost of bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidQuantity, UnknownName, shown
from sizer.formats.levels import Levels
from sizer.model_estimate import Estimate
from sizer.quality.accuracy import (
    AccuracyMap,
    Gain,
    accuracy_map,
    anchored_gain,
    corpus_gain,
    task_maps,
    unknown_gain,
)
from sizer.quality.bits import FULL_BITS, TERNARY_BITS, points_lost
from sizer.quality.constants import accuracy_data, published_law
from sizer.quality.law import TrainedShapes, loss, shapes
from sizer.quality.posterior import FittedLaw
from sizer.tensors import count_parameters, tensor_specs
from sizer.units import format_count, parse_count

# Deviations of the normal distribution that hold 80 %, as every range of this project does; of accuracies a
# tenth fewer, as families left out lay in wider ranges more often than that (docs/quality.md).
ACCURACY_Z = 0.9 * 1.2815515655446004


def accuracy_z(*, placed: bool) -> float:
    """Return the deviations that hold 80 % of accuracies; fewer where a corpus or an anchor is given."""
    return float(accuracy_data()["ranges"]["placed"]) if placed else ACCURACY_Z


class TaskAccuracy(NamedTuple):
    """Accuracy of one task in percent; [low, high] is meant to hold 80 %."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A model after training: loss in nats on web text, mean accuracy of eight tasks in percent with a range.

    The loss and the accuracy are those of 16-bit weights less what the format costs.
    """

    tokens: int
    corpus: str | None
    loss_nats: float
    accuracy: float
    low: float
    high: float
    bits_cost_points: float
    basis: str
    tasks: tuple[TaskAccuracy, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "tokens": self.tokens,
            "corpus": self.corpus,
            "loss_nats": self.loss_nats,
            "accuracy_8": {"value": self.accuracy, "low": self.low, "high": self.high},
            "bits_cost_points": self.bits_cost_points,
            "basis": self.basis,
            "tasks": {t.name: {"value": t.value, "low": t.low, "high": t.high} for t in self.tasks},
        }


def estimated_quality(
    sized: Estimate, tokens: int | str | None, *, corpus: str | None = None, anchor: str | None = None
) -> Quality:
    """Return what an estimated model would reach in the format it is estimated in; tokens as in "1T"."""
    if tokens is None:
        name = "anchor" if corpus is None else "corpus"
        raise InvalidQuantity(f"{name}: is about training; give tokens with it, such as 1T")
    asked = tokens if isinstance(tokens, int) else parse_count(tokens, "tokens")
    if not 0 < asked <= 2**63:
        raise InvalidQuantity(f"tokens: must be between 1 and 2**63, got {shown(asked)}")
    count = float(asked)
    known = sized.shape
    kind = known.model_type if known is not None else sized.file_model and sized.file_model.kind
    _check_language_model(kind, sized.name)
    if sized.shape is not None:
        models = trained_shape(sized.shape, count)
    else:  # known by its file alone
        models = shapes(weights=np.array([float(sized.parameters.non_embedding)]), tokens=np.array([count]))
    return predict(
        models,
        bits_per_weight=block_bits(sized),
        trained_low=stores_ternary(sized),
        corpus=corpus,
        anchor=anchor,
    )


# Model types that fill gaps in a text or read one whole: the law and the tasks are of models that write on.
_ENCODERS = (
    *("albert", "bert", "deberta", "deberta-v2", "distilbert", "electra", "mobilebert", "modernbert"),
    *("modern-bert", "mpnet", "neo-bert", "nomic-bert", "nomic-bert-moe", "nomic_bert", "jina-bert-v2"),
    *("jina-bert-v3", "roberta", "xlm-roberta", "clip", "siglip", "t5encoder", "vit"),
)


def _check_language_model(kind: str | None, name: str) -> None:
    if kind in _ENCODERS:
        raise InvalidArchitecture(
            f"tokens: {name} is an encoder ({kind}), which writes no text; accepted: models that "
            "predict the next token, whose losses and accuracies the law is fitted to"
        )


def stores_ternary(sized: Estimate) -> bool:
    """Return whether layers are stored in -1, 0 and 1: such formats are for models trained to be so."""
    if sized.weights is None or sized.shape is None:
        return False
    levels = [t.type.levels for t in sized.stored_tensors() if t.spec.layer is not None]
    return any(isinstance(found, Levels) and found.is_ternary for found in levels)


def block_bits(sized: Estimate) -> float:
    """Return bits a weight of the layers as stored: embeddings have types of their own; 16 if unknown."""
    if sized.weights is None:
        return FULL_BITS
    if sized.shape is None:
        return sized.bits_per_weight or FULL_BITS
    layers = [t for t in sized.stored_tensors() if t.spec.layer is not None and len(t.spec.shape) > 1]
    weights = sum(t.spec.num_elements for t in layers)
    return 8 * sum(t.num_bytes for t in layers) / weights if weights else FULL_BITS


def trained_shape(architecture: Architecture, tokens: float) -> TrainedShapes:
    """Return an architecture and its training tokens as the one row that the law sees.

    A block's FFN weights are those stored; of mixtures of experts those that a token uses.
    """
    a = architecture
    counts = count_parameters(tensor_specs(a))
    weights = counts.active - counts.embedding - counts.head
    ffn = counts.mlp - (counts.total - counts.active)
    return shapes(
        weights=np.array([float(weights)]),
        tokens=np.array([float(tokens)]),
        aspect=np.array([a.hidden_size / a.num_layers]),
        head_dim=np.array([float(a.head_dim) if a.head_dim and counts.attention else np.nan]),
        ffn_ratio=np.array([ffn / counts.attention if counts.attention and ffn > 0 else np.nan]),
        repeat=np.array([float(a.sharing.runs_per_block(a.num_layers))]),
    )


def predict(
    models: TrainedShapes,
    *,
    bits_per_weight: float,
    trained_low: bool = False,
    corpus: str | None = None,
    anchor: str | None = None,
) -> Quality:
    """Return what one model would reach; `anchor` is MODEL=ACCURACY, of the same recipe.

    `trained_low`: it is trained to be stored in -1, 0 and 1.

    Raises UnknownName and InvalidQuantity for a corpus or an anchor that cannot be read.
    """
    tokens = float(models.tokens[0])
    if not 1e6 <= tokens <= 1e15:
        raise InvalidQuantity(f"tokens: must be 1M to 1000T training tokens, got {tokens:g}")
    weights = float(models.weights[0])
    curve = accuracy_map()
    gain = corpus_gain(corpus) if corpus is not None else unknown_gain()
    if anchor is not None:
        gain = _anchored(anchor, tokens, gain)
    bits = TERNARY_BITS if trained_low else bits_per_weight
    cost = points_lost(bits, tokens_per_weight=tokens / weights, trained=trained_low)
    nats = float(loss(published_law().mean, models)[0])
    value = curve.accuracy(nats - gain.nats)
    sd = (
        _deviation(models, curve, gain, nats)
        if cost == 0
        else np.hypot(_deviation(models, curve, gain, nats), 0.4 * cost)
    )
    value = max(value - cost, curve.floor - 2)
    half = accuracy_z(placed=corpus is not None or anchor is not None) * float(sd)
    return Quality(
        tokens=int(tokens),
        corpus=corpus,
        loss_nats=nats,
        accuracy=value,
        low=max(value - half, curve.floor - 3),
        high=value + half,
        bits_cost_points=cost,
        basis=gain.basis,
        tasks=_tasks(models, curve, gain, value),
    )


def _tasks(
    models: TrainedShapes, curve: AccuracyMap, gain: Gain, accuracy: float
) -> tuple[TaskAccuracy, ...]:
    """Return the accuracy of each task of a model whose mean of eight is `accuracy`, bits included."""
    at = curve.loss(accuracy)
    weights = float(models.weights[0])
    recipe = np.hypot(gain.sd, _far_sd(models))
    found = []
    for name, of in task_maps().items():
        value, half = (
            of.accuracy(at),
            ACCURACY_Z * float(np.hypot(of.slope(at) * recipe, of.scatter(weights))),
        )
        found.append(TaskAccuracy(name, value, max(value - half, 0.0), min(value + half, 100.0)))
    return tuple(found)


def _deviation(models: TrainedShapes, curve: AccuracyMap, gain: Gain, nats: float) -> float:
    """Return the standard deviation of the accuracy, in points: of the recipe, the tasks and what is far."""
    slope = curve.slope(nats - gain.nats)
    return float(
        np.hypot(slope * np.hypot(gain.sd, _far_sd(models)), curve.scatter(float(models.weights[0])))
    )


# Where published families lie: weights outside the embedding and tokens.
_FAMILIES_RANGE = (6e7, 3e9), (2e9, 3e12)


def _far_sd(models: TrainedShapes) -> float:
    """Return what the law's own spread between tables adds beyond the published families, in nats."""
    prior = published_law()
    law = FittedLaw(parameters=prior.mean, covariance=np.diag(prior.sd**2), noise=0.0)
    inside = shapes(
        weights=np.clip(models.weights, *_FAMILIES_RANGE[0]),
        tokens=np.clip(models.tokens, *_FAMILIES_RANGE[1]),
    )
    beyond = shapes(weights=models.weights, tokens=models.tokens)
    moved = loss(law.parameters, beyond) - loss(law.parameters, inside)
    return 0.2 * abs(float(moved[0]))


def _anchored(text: str, tokens: float, prior: Gain) -> Gain:
    """Return the gain shown by MODEL=ACCURACY or MODEL@TOKENS=ACCURACY."""
    name, mark, number = text.rpartition("=")
    accepted = "accepted: MODEL=ACCURACY in percent, such as MobileLLM-125M=46.3 or MobileLLM-125M@1T=46.3"
    try:
        accuracy = float(number.rstrip("% "))
    except ValueError:
        accuracy = float("nan")
    if not (mark and name.strip() and 0 < accuracy <= 100):
        raise InvalidQuantity(f"anchor: cannot read {text!r}; {accepted}")
    name, at, length = name.strip().partition("@")
    trained = {row["name"].lower(): row for row in accuracy_data()["trained"]}.get(name.lower())
    assumed = ""
    if at:
        known_tokens = float(parse_count(length, "anchor"))
    elif trained is not None:
        known_tokens = float(trained["tokens"])
    else:
        known_tokens, assumed = tokens, f" (taken to have {format_count(int(tokens))} tokens too)"
    models = _anchor_shape(name, known_tokens, trained)
    nats = float(loss(published_law().mean, models)[0])
    gain = anchored_gain(nats, accuracy, float(models.weights[0]), prior=prior, name=name)
    return Gain(nats=gain.nats, sd=gain.sd, basis=gain.basis + assumed)


def _anchor_shape(name: str, tokens: float, trained: dict[str, Any] | None) -> TrainedShapes:
    from sizer.registry import model

    try:
        architecture = model(name).architecture
    except UnknownName:
        if trained is None:
            raise
    else:
        _check_language_model(architecture.model_type, name)
        return trained_shape(architecture, tokens)
    return shapes(weights=np.array([float(trained["weights"])]), tokens=np.array([tokens]))
