"""What published tables say of each term of the quality law, before a search has trained anything."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

PRIOR_FILE = Path(__file__).parents[1] / "data" / "law_prior.toml"


@unique
class Term(StrEnum):
    """A term of the law. Slopes are per unit of the natural logarithm, but for the two of bits."""

    DEPTH = "depth"
    WIDTH = "width"
    HEAD_DIM = "head_dim"
    KV_RATIO = "kv_ratio"
    FFN_RATIO = "ffn_ratio"
    SHARING = "sharing"
    EMBEDDING_RATIO = "embedding_ratio"
    BITS = "bits"
    BITS_X_SIZE = "bits_x_size"


# The feature that two of the terms are made of; the others are called like their feature.
SEEN_AS = {Term.BITS: "bits_per_weight", Term.BITS_X_SIZE: "parameters"}


class Seen(NamedTuple):
    """Least and largest value of a term's feature among the published models: outside, nothing is known."""

    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Expected change of loss per unit of a term, as a share of the loss, and its standard deviation."""

    value: float
    sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LawPrior:
    """Slopes by term, and how fast the damage of few bits fades: exp(-bits_decay x bits)."""

    slopes: Mapping[Term, Slope]
    bits_decay: float
    bits_parameters: float  # number of weights at which the slope of `bits` holds
    seen: Mapping[Term, Seen] = field(default_factory=dict)  # by term that the tables vary

    @property
    def typical_slope(self) -> float:
        """Root mean square of the slopes of depth and width: how much a shape matters at all."""
        known = [self.slopes[term].value for term in (Term.DEPTH, Term.WIDTH)]
        return float((sum(value**2 for value in known) / len(known)) ** 0.5)


@cache
def published_prior() -> LawPrior:
    """The prior fitted to published tables by `python benchmarks/law_prior.py`."""
    document = tomllib.loads(PRIOR_FILE.read_text(encoding="utf-8"))
    slopes = {
        Term(row["term"]): Slope(value=float(row["slope"]), sd=float(row["sd"])) for row in document["term"]
    }
    return LawPrior(
        slopes=MappingProxyType(slopes),
        bits_decay=float(document["bits"]["decay"]),
        bits_parameters=float(document["bits"]["parameters"]),
        seen=MappingProxyType(
            {Term(row["term"]): Seen(float(row["least"]), float(row["most"])) for row in document["term"]}
        ),
    )
