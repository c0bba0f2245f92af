"""A model's quality over training tokens, with what each length takes, and the length a target needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import Any

from sizer.errors import InvalidQuantity, NoFit
from sizer.model_estimate import Estimate
from sizer.quality.cost import TrainingCost, training_costs
from sizer.quality.prediction import Quality, estimated_quality
from sizer.units import format_count

SCHEMA = "sizer.quality.curve/1"
# Lengths shown in addition to 20 tokens a weight.
LENGTHS = (30e9, 100e9, 300e9, 1e12, 3e12, 10e12)
_SHORTEST, _LONGEST = 1e9, 1e14


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLength:
    """One training length: what is reached and what it takes."""

    quality: Quality
    costs: tuple[TrainingCost, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.quality.to_dict() | {"training": [cost.to_dict() for cost in self.costs]}


def curve_point(sized: Estimate, tokens: float, *, corpus: str | None, anchor: str | None) -> TrainingLength:
    """Return what a model reaches after a training of that length, and what it takes."""
    return TrainingLength(
        quality=estimated_quality(sized, int(tokens), corpus=corpus, anchor=anchor),
        costs=training_costs(sized.architecture, tokens),
    )


def curve(sized: Estimate, *, corpus: str | None = None, anchor: str | None = None) -> list[TrainingLength]:
    """Return a model's quality after 20 tokens a weight and after the usual lengths, shortest first."""
    lengths = sorted({20.0 * sized.parameters.total, *LENGTHS})
    return [curve_point(sized, tokens, corpus=corpus, anchor=anchor) for tokens in lengths]


def length_for(
    sized: Estimate, target: float, *, corpus: str | None = None, anchor: str | None = None
) -> TrainingLength:
    """Return the shortest training that is expected to reach an accuracy in percent, to two digits of tokens.

    Raises InvalidQuantity for a target that is no percentage, NoFit for one that no training length reaches.
    """
    if not 0 < target < 100:
        raise InvalidQuantity(f"target: must be an accuracy in percent, such as 46.0, got {target:g}")

    def reached(tokens: float) -> float:
        return estimated_quality(sized, int(tokens), corpus=corpus, anchor=anchor).accuracy

    low, high = log(_SHORTEST), log(_LONGEST)
    if reached(_LONGEST) < target:
        most = reached(_LONGEST)
        raise NoFit(
            f"target: {target:g} % is not reached with {format_count(int(_LONGEST))} tokens ({most:.1f} %)"
        )
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(exp(middle)) >= target else (middle, high)
    return curve_point(sized, float(f"{exp(high):.2g}"), corpus=corpus, anchor=anchor)
