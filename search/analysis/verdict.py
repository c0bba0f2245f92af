"""Words for how far an order of short runs can be trusted; each rests on how often it was right in replays.

A word is a claim about all models of one size, made from those of one study. benchmarks/replay/verdicts.py
writes `search/data/verdict_coverage.toml` from studies replayed on tables of longer runs (docs/verdicts.md):
by the share of a study's resamples in which a claim holds, how often the claim was true. A claim that was not
right often enough is never stated.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import cache
from pathlib import Path

import numpy as np

from search.stats.ridge import Floats

_FILE = Path(__file__).resolve().parents[1] / "data" / "verdict_coverage.toml"

# Fewer pairs of one size decide nothing: with 10 independent pairs a coin reaches tau 0.4 one time in six.
MIN_PAIRS = 10
# From this tau on 17 pairs in 20 are in the right order.
WELL = 0.7
# A word promises to be right in this share of the studies that get it, the upper end of an 80 % range ...
PROMISED = 0.9
# ... and not to be given to more than this share of the studies of tables where it is false.
MOST_WRONGLY = 0.1
# Fewer studies of either kind measure nothing.
LEAST_STUDIES = 30


@unique
class VerdictClaim(StrEnum):
    """What a verdict can claim of short runs, for models of one size."""

    ORDERS = "agree with longer runs"  # tau above 0
    AGAINST = "rank against longer runs"  # tau of 0 or less
    BETTER = "better than counting"  # tau above that of counting parameters
    NO_BETTER = "no better than counting"
    WELL = "agree well"  # tau of at least 0.7

    def holds(self, tau: Floats, gain: Floats) -> Floats:
        """Return for each tau with longer runs, or gain over counting's, whether the claim is true."""
        found = {
            VerdictClaim.ORDERS: tau > 0,
            VerdictClaim.AGAINST: tau <= 0,
            VerdictClaim.BETTER: gain > 0,
            VerdictClaim.NO_BETTER: gain <= 0,
            VerdictClaim.WELL: tau >= WELL,
        }[self]
        return np.asarray(found, np.float64)


Support = Mapping[VerdictClaim, float]


def support(tau: Floats, gain: Floats) -> Support:
    """Return the share of a study's resamples in which each claim holds; 0 where there is no resample."""
    shares = {claim: claim.holds(tau, gain) for claim in VerdictClaim}
    return {claim: float(holds.mean()) if len(holds) else 0.0 for claim, holds in shares.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCoverage:
    """How often a claim was right in replayed studies that support it by a share of resamples or more."""

    claim: VerdictClaim
    support: float
    right: float  # share of the studies with that support in whose table the claim is true
    studies: int  # with that support
    wrongly: float  # share of the studies of tables where the claim is false that have that support
    false_studies: int  # of tables where the claim is false

    @property
    def is_measured(self) -> bool:
        """True if there are enough studies of either kind."""
        return min(self.studies, self.false_studies) >= LEAST_STUDIES

    @property
    def keeps_promise(self) -> bool:
        """True if the claim is right as often as a word promises, and rarely given where it is false."""
        return self.right >= PROMISED and self.wrongly <= MOST_WRONGLY


@cache
def measured_claims() -> tuple[ClaimCoverage, ...]:
    """Return what was measured, claim by claim, by rising support."""
    levels = tomllib.loads(_FILE.read_text(encoding="utf-8"))["levels"]
    return tuple(ClaimCoverage(**{**level, "claim": VerdictClaim(level["claim"])}) for level in levels)


def stated_at(
    claim: VerdictClaim, share: float, measured: Sequence[ClaimCoverage] | None = None
) -> ClaimCoverage | None:
    """Return the coverage that lets a claim be stated at a share of resamples; None where nothing does.

    That is the coverage at the highest measured support which the share reaches. Less than the promised share
    of resamples states nothing, whatever was measured: no table shows all cases in which a claim is false.
    """
    if share < PROMISED:
        return None
    levels = measured_claims() if measured is None else measured
    known = [level for level in levels if level.claim is claim and level.is_measured]
    reached = [level for level in known if level.support <= share]
    return reached[-1] if reached and reached[-1].keeps_promise else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A sentence, and how often the claim that it makes was right; None where it claims nothing."""

    text: str
    rests_on: ClaimCoverage | None = None


def verdict(pairs: int, found: Support, measured: Sequence[ClaimCoverage] | None = None) -> Verdict:
    """Return the most that a study's support allows to say, by what was measured of each claim."""
    levels = {claim: stated_at(claim, share, measured) for claim, share in found.items()}
    stated = {claim: level for claim, level in levels.items() if level is not None}
    if pairs < MIN_PAIRS:
        return Verdict(
            text=f"too few pairs to tell: {pairs} pairs of models differ by less than 10 % in size, "
            f"{MIN_PAIRS} are needed"
        )
    if VerdictClaim.AGAINST in stated:
        return Verdict(
            text="not to be trusted: among models of one size short runs rank against longer ones",
            rests_on=stated[VerdictClaim.AGAINST],
        )
    if VerdictClaim.ORDERS not in stated:
        return Verdict(text="cannot tell whether short runs rank models of one size as longer ones do")
    if VerdictClaim.NO_BETTER in stated:
        return Verdict(
            text="no better than counting parameters: short runs add nothing to the order of models of one "
            "size",
            rests_on=stated[VerdictClaim.NO_BETTER],
        )
    if VerdictClaim.BETTER in stated:
        how = "well" if VerdictClaim.WELL in stated else "mostly"
        return Verdict(
            text=f"better than counting parameters: short runs rank models of one size {how} as longer ones "
            "do",
            rests_on=stated[VerdictClaim.WELL if VerdictClaim.WELL in stated else VerdictClaim.BETTER],
        )
    return Verdict(
        text="better than chance: cannot tell whether also better than counting parameters",
        rests_on=stated[VerdictClaim.ORDERS],
    )
