"""How far a short run's order of models can be believed: against longer runs, and against mere counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.law import MIN_ROWS
from search.ranking import (
    Interval,
    by_attention_parameters,
    by_parameters,
    by_quality_law,
    by_size_law,
    kendall,
    pairs_of_one_size,
    spearman,
    tau_gain_interval,
    tau_interval,
    top_recall,
)
from search.shapes import LawRow
from sizer.errors import InvalidQuantity, StudyError

SCHEMA = "sizer.trust/1"

# Fewer pairs of one size decide nothing: with 10 independent pairs a coin reaches tau 0.4 one time in six.
MIN_PAIRS = 10
# The best fifth of the models: what a search would keep.
_TOP_SHARE = 0.2
# From this tau on 17 pairs in 20 are in the right order.
_WELL = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustReport:
    """Agreement of an early order with a later one, overall and among models of one deployed size."""

    pairs: int  # of one size
    models: int
    kendall: float | None
    spearman: float | None
    tau_10pct: Interval
    top_recall: float
    baselines: Mapping[str, Interval]  # 10 %-pairs tau of each, against the same later losses
    gain: Interval  # of tau_10pct over that of counting parameters
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """The document `sizer search trust --json` prints."""
        return {
            "schema": SCHEMA,
            "pairs": self.pairs,
            "models": self.models,
            "kendall": self.kendall,
            "spearman": self.spearman,
            "tau_10pct": self.tau_10pct.to_dict(),
            "top_recall": self.top_recall,
            "baselines": {name: {"tau_10pct": tau.to_dict()} for name, tau in self.baselines.items()},
            "gain_over_parameters": self.gain.to_dict(),
            "verdict": self.verdict,
        }


def trust(early: Sequence[float], late: Sequence[LawRow], *, seed: int = 0) -> TrustReport:
    """Report on early losses of models whose later, trusted losses are in the rows, in the same order.

    The baselines rank the same models without training them: by weights, by weights in attention, and by two
    laws fitted to the later losses of all the other models.
    """
    if len(early) != len(late):
        raise InvalidQuantity(f"early: {len(early)} losses for {len(late)} models; accepted: one for each")
    if len(late) < 2:
        raise StudyError(f"trust: {len(late)} models have an early and a late loss; accepted: 2 or more")
    losses = [row.loss for row in late]
    sizes = [row.size_bytes for row in late]
    counters = {
        "parameters": by_parameters(late),
        "attention_parameters": by_attention_parameters(late),
    }
    if len(late) >= MIN_ROWS:
        counters["size_law"] = by_size_law(late)
        counters["quality_law"] = by_quality_law(late)
    pairs = pairs_of_one_size(sizes)
    tau = tau_interval(early, losses, sizes, seed=seed)
    gain = tau_gain_interval(early, counters["parameters"], losses, sizes, seed=seed)
    return TrustReport(
        pairs=pairs,
        models=len(late),
        kendall=kendall(early, losses),
        spearman=spearman(early, losses),
        tau_10pct=tau,
        top_recall=top_recall(early, losses, max(1, round(_TOP_SHARE * len(late)))),
        baselines={name: tau_interval(values, losses, sizes, seed=seed) for name, values in counters.items()},
        gain=gain,
        verdict=verdict(pairs, tau, gain),
    )


def verdict(pairs: int, tau: Interval, gain: Interval) -> str:
    """What the numbers say, in one sentence."""
    if tau.value is None or tau.low is None or pairs < MIN_PAIRS:
        return (
            f"too few pairs to tell: {pairs} pairs of models differ by less than 10 % in size, "
            f"{MIN_PAIRS} are needed"
        )
    if tau.high is not None and tau.high <= 0:
        return "not to be trusted: among models of one size short runs rank against longer ones"
    if tau.low <= 0:
        return "not to be trusted: among models of one size the order of short runs may be chance"
    if gain.low is None or gain.value is None or gain.value <= 0:
        return "no better than counting parameters: short runs add nothing to the order of models of one size"
    if gain.low <= 0:
        return "better than chance, but not clearly better than counting parameters"
    strength = "well" if tau.value >= _WELL else "mostly"
    return f"better than counting parameters: short runs rank models of one size {strength} as longer ones do"
