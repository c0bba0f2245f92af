"""The quality law before any trial: what published tables alone say of one shape's loss beside another's.

The tables fix slopes as shares of the loss and nothing else, so this law knows no loss, only by what share
one shape's is above another's where both are trained alike. As in a fitted law (search/law/law.py) slopes
hold in the middle of the models it is asked about, and exponents are averaged; here nothing weighs them.

Another recipe has other slopes: on the two tables the prior has not seen (`docs/replay.md`) losses differ by
0.5 to 0.7 of what it says, in nearly the same order: tau 0.82 to 0.90, 0.61 to 0.78 among models of one size.
So each slope may be off by RECIPE of itself, beside its own deviation. Intervals of 80 % for the difference
of two models of one size then hold 97 % of Gemstones' pairs after 16B tokens and all after 64B and 350B, and
88 % of LTS's (`tests/search/law/test_prior_law.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from search.law.law import LawSettings, curved, plain_column
from search.law.law_prior import SEEN_AS, LawPrior, Term, published_prior
from search.law.ridge import Floats
from search.law.shapes import FeatureColumns, Shapes, feature

# Deviation of a slope between recipes, as a share of the slope.
RECIPE = 0.5

_CURVED = (Term.DEPTH, Term.WIDTH)
# Least and most are read from a file of twelve digits.
_ROUNDED = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PriorLaw:
    """Published slopes about the middle of some models; made by `prior_law`."""

    prior: LawPrior
    middle: FeatureColumns  # one shape: geometric means
    settings: LawSettings

    def above(self, shapes: Shapes, other: Shapes) -> tuple[Floats, Floats]:
        """Share of the other's loss by which each shape's is above it, and its standard deviation.

        `other` is one shape. What is uncertain of both alike cancels.
        """
        value, variance = np.zeros(len(shapes)), np.zeros(len(shapes))
        for term, slope in self.prior.slopes.items():
            deviation = (slope.sd**2 + (RECIPE * slope.value) ** 2) ** 0.5
            steps = self._steps(term, shapes, other)
            value += slope.value * np.mean(steps, axis=0)
            variance += deviation**2 * np.mean(np.square(steps), axis=0)
            variance += slope.value**2 * np.var(steps, axis=0)
        level = float(self.loss(other)[0])
        return value / level, np.sqrt(variance) / level

    def loss(self, shapes: Shapes) -> Floats:
        """Loss expected of each shape, as a share of the middle's."""
        total = np.ones(len(shapes))
        for term, slope in self.prior.slopes.items():
            total += slope.value * np.mean(self._steps(term, shapes, self.middle), axis=0)
        return total

    def _steps(self, term: Term, shapes: Shapes, other: Shapes) -> list[Floats]:
        """How far the term's column is from the other's, for each exponent that it may have."""
        if term not in _CURVED:
            return [plain_column(term, shapes, self.prior) - plain_column(term, other, self.prior)]
        depth = term is Term.DEPTH
        exponents = self.settings.depth_exponents if depth else self.settings.width_exponents
        middle = feature(self.middle, term.value)
        ours, theirs = feature(shapes, term.value) / middle, feature(other, term.value) / middle
        return [curved(ours, exponent) - curved(theirs, exponent) for exponent in exponents]


def prior_law(shapes: Shapes, *, prior: LawPrior | None = None) -> PriorLaw:
    """The law of published tables for these shapes."""
    middle = {f.name: _geometric_mean(feature(shapes, f.name)) for f in fields(FeatureColumns)}
    return PriorLaw(prior=prior or published_prior(), middle=FeatureColumns(**middle), settings=LawSettings())


def _geometric_mean(values: Floats) -> Floats:
    return np.asarray(np.exp(np.log(values).mean(keepdims=True)))


def outside(shapes: Shapes) -> dict[Term, NDArray[np.bool_]]:
    """By term, whether each shape lies outside what the published law was fitted to."""
    found = {}
    for term, (least, most) in published_prior().seen.items():
        values = feature(shapes, SEEN_AS.get(term, term.value))
        found[term] = (values < least * (1 - _ROUNDED)) | (values > most * (1 + _ROUNDED))
    return found
