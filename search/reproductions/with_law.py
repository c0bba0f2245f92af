"""What the law expects of the published models, alone and with the runs of their proxies.

Proxies are small and their runs short; the law knows shapes and lengths of training from others' tables. Both
speak of one thing, the order of the published models after their published training, and are kept apart:
the law without runs, the runs without the law's opinion, and both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import fmean
from typing import Any

import numpy as np

from search.analysis.decisions.belief import Belief, LossModel
from search.analysis.decisions.evidence import paired_errors
from search.analysis.decisions.points import ModelPoint, Observation, model_point
from search.reproductions.reproduction_runs import ReproductionRun
from search.reproductions.reproductions import Arm, Claim, Reproduction
from search.space.formats import file_bytes
from search.stats.rank_correlation import spearman
from search.stats.ridge import Floats
from search.store.results import Candidate, TrialStatus
from sizer.runtimes import DEFAULT_RUNTIME

PUBLISHED_FORMAT = "F16"  # publications compare models in 16 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """By what share the loss of the better model is below the worse one's, and how likely it is below."""

    share: float
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"share_of_loss": self.share, "probability": self.probability}


@dataclass(frozen=True, slots=True, kw_only=True)
class LawClaim:
    """A claim about published models as the law expects it, as the runs alone show it, and as both do."""

    claim: Claim
    law: Expected
    runs: Expected
    both: Expected

    @property
    def moved(self) -> float:
        """By what share of the loss the runs moved what the law expects, positive towards the claim."""
        return self.both.share - self.law.share

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        parts = {"law": self.law, "runs": self.runs, "both": self.both}
        return {
            "claim": self.claim.text,
            **{name: part.to_dict() for name, part in parts.items()},
            "moved_by_runs": self.moved,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LawFindings:
    """Claims with the law, and the Spearman of each expected order with the published one."""

    tokens: float  # published training of each model
    claims: tuple[LawClaim, ...]
    order: tuple[float | None, float | None, float | None] | None  # of the law, the runs and both

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        names = ("law", "runs", "both")
        return {
            "published_tokens": self.tokens,
            "claims": [claim.to_dict() for claim in self.claims],
            "order_spearman": None if self.order is None else dict(zip(names, self.order, strict=True)),
        }


def law_findings(reproduction: Reproduction, runs: Sequence[ReproductionRun]) -> LawFindings | None:
    """Return what is expected of the published models; None without their shapes, lengths or any run."""
    tokens = reproduction.published_tokens
    arms = reproduction.arms
    scored = [run for run in runs if run.proxy.status is TrialStatus.COMPLETE]
    if tokens is None or not scored or any(arm.published is None for arm in arms):
        return None
    proxies = [_point(arm.candidate) for arm in arms]
    points = [_published(arm) for arm in arms] + proxies
    trained = fmean(log(proxy.features.parameters) for proxy in proxies)
    model = LossModel(points, target_tokens=tokens, runs_weights=exp(trained))
    places = {arm.label: n for n, arm in enumerate(arms)}
    errors = paired_errors([run.proxy for run in scored])
    seen = [
        Observation(
            point=len(arms) + places[run.label],
            seed=run.seed,
            tokens=float(run.proxy.trained_tokens),
            bits_per_byte=run.proxy.val_bits_per_byte or 0.0,
            scoring_sd=error,
        )
        for run, error in zip(scored, errors, strict=True)
    ]
    claims = [claim for claim in reproduction.claims if claim.published]
    rows = np.zeros((len(claims) + len(arms), len(points)))
    for row, claim in zip(rows, claims, strict=False):
        row[places[claim.better]], row[places[claim.worse]] = 1.0, -1.0
    for n in range(len(arms)):  # each model against the mean of all: their order
        rows[len(claims) + n, : len(arms)] = -1 / len(arms)
        rows[len(claims) + n, n] += 1
    law = model.believe(rows, ())
    alone = model.believe(rows, seen, with_law=False)
    both = model.believe(rows, seen)
    first = len(claims)
    return LawFindings(
        tokens=tokens,
        claims=tuple(
            LawClaim(claim=c, law=_expected(law, n), runs=_expected(alone, n), both=_expected(both, n))
            for n, c in enumerate(claims)
        ),
        order=(
            (
                _agreement(reproduction, law.mean[first:]),
                _agreement(reproduction, alone.mean[first:]),
                _agreement(reproduction, both.mean[first:]),
            )
            if reproduction.ranked
            else None
        ),
    )


def _published(arm: Arm) -> ModelPoint:
    assert arm.published is not None
    return _point(Candidate(architecture=arm.published, format=PUBLISHED_FORMAT))


def _point(candidate: Candidate) -> ModelPoint:
    size = file_bytes(candidate.architecture, candidate.format, DEFAULT_RUNTIME)
    return model_point(candidate, size_bytes=size, runtime=DEFAULT_RUNTIME)


def _expected(belief: Belief, place: int) -> Expected:
    return Expected(share=-float(belief.mean[place]), probability=float(belief.chances[place]))


def _agreement(reproduction: Reproduction, losses: Floats) -> float | None:
    """Return the Spearman of expected losses with the published order."""
    sign = -1.0 if reproduction.higher_is_better else 1.0
    there = [n for n, arm in enumerate(reproduction.arms) if arm.published_value is not None]
    theirs = [sign * (reproduction.arms[n].published_value or 0.0) for n in there]
    return spearman([float(losses[n]) for n in there], theirs)
