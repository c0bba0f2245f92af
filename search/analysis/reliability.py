"""How far a short run's order of models can be believed: against longer runs, and against mere counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from search.analysis.verdict import MIN_PAIRS, Verdict, support, verdict
from search.config.objectives import Objective
from search.quality.baselines import by_attention_parameters, by_parameters, by_quality_law, by_size_law
from search.quality.features import LawRow, trial_features
from search.quality.law import MIN_ROWS
from search.stats.hypervolume import Point, hypervolume, reference_point
from search.stats.rank_correlation import (
    Interval,
    kendall,
    pairs_of_one_size,
    spearman,
    tau_gain_interval,
    tau_gain_resamples,
    tau_interval,
    tau_resamples,
    top_recall,
)
from search.store.results import ProxyResult, SearchResult, TrialRecord, TrialStatus, bits_per_byte
from sizer.errors import InvalidQuantity, StudyError
from sizer.quality.posterior import Prior

SCHEMA = "sizer.trust/1"

# The best fifth of the models: what a search would keep.
_TOP_SHARE = 0.2


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
    judged: Verdict

    @property
    def verdict(self) -> str:
        """The numbers in one sentence, whose words were right often enough in replayed studies."""
        return self.judged.text

    def to_dict(self) -> dict[str, Any]:
        """Return the document of `sizer search trust --json`."""
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
            "verdict_was_right": None if self.judged.rests_on is None else self.judged.rests_on.right,
        }


def trust(
    early: Sequence[float], late: Sequence[LawRow], *, seed: int = 0, prior: Prior | None = None
) -> TrustReport:
    """Report on early losses of models whose later, trusted losses are in the rows, in the same order.

    The baselines rank the same models without training them: by weights, by weights in attention, and by two
    laws fitted to the later losses of all the other models; the quality law starts at `prior`, or at the
    published law.
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
        counters["quality_law"] = by_quality_law(late, prior=prior)
    pairs = pairs_of_one_size(sizes)
    counting = counters["parameters"]
    supported = support(
        tau_resamples(early, losses, sizes, seed=seed),
        tau_gain_resamples(early, counting, losses, sizes, seed=seed),
    )
    return TrustReport(
        pairs=pairs,
        models=len(late),
        kendall=kendall(early, losses),
        spearman=spearman(early, losses),
        tau_10pct=tau_interval(early, losses, sizes, seed=seed),
        top_recall=top_recall(early, losses, max(1, round(_TOP_SHARE * len(late)))),
        baselines={name: tau_interval(values, losses, sizes, seed=seed) for name, values in counters.items()},
        gain=tau_gain_interval(early, counting, losses, sizes, seed=seed),
        judged=verdict(pairs, supported),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RungTrust:
    """Agreement of the first rung's order with a later rung's, over the models that came so far."""

    early_steps: int
    late_steps: int
    report: TrustReport

    def to_dict(self) -> dict[str, Any]:
        """Return the document of `sizer search trust --json`."""
        return {**self.report.to_dict(), "early_steps": self.early_steps, "late_steps": self.late_steps}


def rung_trust(result: SearchResult) -> tuple[RungTrust, ...]:
    """Compare the first rung's ranking with that of each later rung; none if no model got further.

    Only models that survived are compared, which are more alike than all: the agreement among them is, if
    anything, below that among all.
    """
    later = sorted({run.rung for r in result.trained for run in r.runs if run.rung > 0 and _scored(run)})
    found = []
    for rung in later:
        ends = ((record, _ends(record, rung)) for record in result.trained)
        pairs = [(record, *both) for record, both in ends if both is not None]
        if len(pairs) < 2:
            continue
        rows = [
            LawRow(
                name=record.candidate.architecture.name,
                features=trial_features(record, runtime=result.runtime, run=last),
                size_bytes=record.file_bytes,
                loss=last.val_bits_per_byte or 0.0,
            )
            for record, _, last in pairs
        ]
        report = trust([first.val_bits_per_byte or 0.0 for _, first, _ in pairs], rows)
        early, late = max(f.steps for _, f, _ in pairs), max(last.steps for _, _, last in pairs)
        found.append(RungTrust(early_steps=early, late_steps=late, report=report))
    return tuple(found)


def _ends(record: TrialRecord, rung: int) -> tuple[ProxyResult, ProxyResult] | None:
    """Return a trial's runs at the first and at a later rung, by the study's own seed."""
    runs = {run.rung: run for run in reversed(record.runs) if _scored(run)}
    return (runs[0], runs[rung]) if 0 in runs and rung in runs else None


def _scored(run: ProxyResult) -> bool:
    return run.status is TrialStatus.COMPLETE


def chosen(reports: Sequence[RungTrust]) -> RungTrust | None:
    """Return the longest comparison with enough pairs, else the one with most."""
    enough = [r for r in reports if r.report.pairs >= MIN_PAIRS]
    return enough[-1] if enough else max(reports, key=lambda r: r.report.pairs, default=None)


def control_hypervolumes(result: SearchResult, control: SearchResult) -> tuple[float, float]:
    """Return the hypervolumes of two studies' finalists (log of each cost x bits per byte) from one corner.

    Only meaningful for the same budget, text and trained tokens; the caller knows how many each had. By the
    scores of what was trained: what two laws extrapolate has two laws' errors.
    """
    ours, theirs = side_by_side((result, control))
    return ours, theirs


def side_by_side(results: Sequence[SearchResult]) -> tuple[float, ...]:
    """Return the hypervolume of each study's finalists, all measured from one corner."""
    if len({study.objectives for study in results}) > 1:
        raise StudyError("trust: the studies have different objectives; accepted: studies of the same ones")
    all_points = [[_point(r, study.objectives) for r in study.finalists] for study in results]
    if not all(all_points):
        raise StudyError("trust: one of the studies has no trained model to compare")
    corner = reference_point([point for points in all_points for point in points])
    return tuple(hypervolume(points, corner) for points in all_points)


def _point(record: TrialRecord, objectives: Sequence[Objective]) -> Point:
    return (*map(log, record.costs(objectives)), bits_per_byte(record))
