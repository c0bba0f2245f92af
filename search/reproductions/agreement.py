"""Whether what was trained here agrees with what was published, decided by intervals alone.

Ranges here cover 95 %, not 80 % as elsewhere in this project: they decide a verdict on a publication.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from math import sqrt
from typing import Any

import numpy as np

from search.reproductions.reproduction_runs import ReproductionRun
from search.reproductions.reproductions import Arm, Claim, Reproduction
from search.reproductions.with_law import LawFindings, law_findings
from search.stats.rank_correlation import Interval, kendall, resampled, spearman
from search.store.results import ProxyResult, TrialStatus

SCHEMA = "sizer.reproduction/1"
COVERAGE = 0.95
# Four arms come in the published order by chance once in 24 times, five once in 120.
FEWEST_RANKED = 5


@unique
class AgreementVerdict(StrEnum):
    """Verdict of our numbers on a published claim."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    CANNOT_TELL = "cannot tell at this size"
    MISSING = "not trained"
    OPEN = "nothing to agree with"  # no published difference: a question of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFinding:
    """What came of one arm."""

    arm: Arm
    bits_per_byte: float | None  # mean over seeds
    seed_sd: float | None  # standard deviation over seeds; None below 2
    seeds: int  # that came to a score
    diverged: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        architecture = self.arm.candidate.architecture
        return {
            "arm": self.arm.label,
            "published_parameters_m": self.arm.published_params_m,
            "published": self.arm.published_value,
            "num_layers": architecture.num_layers,
            "executed_layers": architecture.executed_layers,
            "hidden_size": architecture.hidden_size,
            "format": self.arm.candidate.format,
            "parameters": self.arm.parameters,
            "tensor_bytes": self.arm.tensor_bytes,
            "file_bytes": self.arm.file_bytes,
            "val_bits_per_byte": self.bits_per_byte,
            "seed_sd": self.seed_sd,
            "seeds": self.seeds,
            "diverged": self.diverged,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFinding:
    """A claim and its finding: bits per byte of the worse arm less those of the better."""

    claim: Claim
    difference: Interval
    seeds: int  # that both arms have
    verdict: AgreementVerdict

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "claim": self.claim.text,
            "better": self.claim.better,
            "worse": self.claim.worse,
            "published": list(self.claim.published) if self.claim.published else None,
            "difference_bits_per_byte": self.difference.to_dict(),
            "seeds": self.seeds,
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFinding:
    """How our order of all arms agrees with the published one, next to the agreement of counting alone."""

    spearman: Interval
    kendall: Interval
    by_parameters: float | None  # Spearman of more parameters, better
    by_depth: float | None  # of more layers, better
    verdict: AgreementVerdict

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "spearman": self.spearman.to_dict(),
            "kendall": self.kendall.to_dict(),
            "spearman_by_parameters": self.by_parameters,
            "spearman_by_depth": self.by_depth,
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All findings of the stored runs of a reproduction."""

    reproduction: Reproduction
    steps: int
    arms: tuple[ArmFinding, ...]
    claims: tuple[ClaimFinding, ...]
    order: OrderFinding | None
    with_law: LawFindings | None
    runs: int
    trained_tokens: int
    wall_s: float  # of all runs, one after the other
    cpu_s: float | None  # processor time of all; None where some were trained in worker processes
    threads: tuple[int, ...]  # that runs were trained with
    dtypes: tuple[str, ...]  # that matrices were multiplied in

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        r = self.reproduction
        return {
            "schema": SCHEMA,
            "reproduction": r.name,
            "title": r.title,
            "source": r.source,
            "published": r.published,
            "metric": r.metric,
            "matched": r.matched,
            "limits": list(r.limits),
            "coverage": COVERAGE,
            "steps": self.steps,
            "arms": [arm.to_dict() for arm in self.arms],
            "claims": [claim.to_dict() for claim in self.claims],
            "order": self.order.to_dict() if self.order else None,
            "with_law": self.with_law.to_dict() if self.with_law else None,
            "cost": {
                "runs": self.runs,
                "trained_tokens": self.trained_tokens,
                "wall_s": self.wall_s,
                "cpu_s": self.cpu_s,
                "threads": list(self.threads),
                "dtypes": list(self.dtypes),
            },
        }


def findings(reproduction: Reproduction, runs: Sequence[ReproductionRun]) -> Findings:
    """Return the findings of the runs of one number of steps."""
    cpu = [run.cpu_s for run in runs]
    scored: dict[str, dict[int, ProxyResult]] = {arm.label: {} for arm in reproduction.arms}
    for run in runs:
        if run.proxy.status is TrialStatus.COMPLETE:
            scored[run.label][run.seed] = run.proxy
    return Findings(
        reproduction=reproduction,
        steps=max((run.proxy.steps for run in runs), default=0),
        arms=tuple(_arm_finding(arm, scored[arm.label], runs) for arm in reproduction.arms),
        claims=tuple(
            _claim_finding(claim, scored[claim.better], scored[claim.worse]) for claim in reproduction.claims
        ),
        order=_order_finding(reproduction, scored) if reproduction.ranked else None,
        with_law=law_findings(reproduction, runs),
        runs=len(runs),
        trained_tokens=sum(run.proxy.trained_tokens for run in runs),
        wall_s=sum(run.proxy.wall_s for run in runs),
        cpu_s=None if None in cpu else sum(filter(None, cpu)),
        threads=tuple(sorted({run.threads for run in runs})),
        dtypes=tuple(sorted({run.proxy.dtype or "unknown" for run in runs})),
    )


def _arm_finding(arm: Arm, scored: Mapping[int, ProxyResult], runs: Sequence[ReproductionRun]) -> ArmFinding:
    bits = [_bits(result) for result in scored.values()]
    diverged = sum(run.label == arm.label and run.proxy.status is TrialStatus.DIVERGED for run in runs)
    return ArmFinding(
        arm=arm,
        bits_per_byte=sum(bits) / len(bits) if bits else None,
        seed_sd=float(np.std(bits, ddof=1)) if len(bits) > 1 else None,
        seeds=len(bits),
        diverged=diverged,
    )


def _bits(result: ProxyResult) -> float:
    assert result.val_bits_per_byte is not None
    return result.val_bits_per_byte


def _claim_finding(
    claim: Claim, better: Mapping[int, ProxyResult], worse: Mapping[int, ProxyResult]
) -> ClaimFinding:
    seeds = sorted(better.keys() & worse.keys())
    difference = paired_difference([better[s] for s in seeds], [worse[s] for s in seeds])
    return ClaimFinding(
        claim=claim,
        difference=difference,
        seeds=len(seeds),
        verdict=_claim_verdict(claim, difference),
    )


def _claim_verdict(claim: Claim, difference: Interval) -> AgreementVerdict:
    if difference.value is None:
        return AgreementVerdict.MISSING
    return verdict(difference) if claim.published else AgreementVerdict.OPEN


def _order_finding(
    reproduction: Reproduction, scored: Mapping[str, Mapping[int, ProxyResult]]
) -> OrderFinding:
    """Compare orders over the arms with a published value and the seeds that all of these have."""
    arms = [arm for arm in reproduction.arms if arm.published_value is not None and scored[arm.label]]
    common = set.intersection(*(set(scored[arm.label]) for arm in arms)) if arms else set()
    if len(arms) < FEWEST_RANKED or not common:
        nothing = Interval(value=None, low=None, high=None)
        return OrderFinding(
            spearman=nothing,
            kendall=nothing,
            by_parameters=None,
            by_depth=None,
            verdict=AgreementVerdict.MISSING,
        )
    sign = -1.0 if reproduction.higher_is_better else 1.0
    theirs = [sign * (arm.published_value or 0.0) for arm in arms]
    ours = [sum(_bits(scored[arm.label][seed]) for seed in common) / len(common) for arm in arms]
    rho = resampled(spearman, ours, theirs, coverage=COVERAGE)
    return OrderFinding(
        spearman=rho,
        kendall=resampled(kendall, ours, theirs, coverage=COVERAGE),
        by_parameters=spearman([-float(arm.parameters) for arm in arms], theirs),
        by_depth=spearman([-float(arm.candidate.architecture.executed_layers) for arm in arms], theirs),
        verdict=verdict(rho),
    )


def verdict(interval: Interval) -> AgreementVerdict:
    """Return the verdict on a difference or a correlation, positive as published, with its range."""
    if interval.low is None or interval.high is None:
        return AgreementVerdict.CANNOT_TELL
    if interval.low > 0:
        return AgreementVerdict.AGREES
    return AgreementVerdict.DISAGREES if interval.high < 0 else AgreementVerdict.CANNOT_TELL


def paired_difference(better: Sequence[ProxyResult], worse: Sequence[ProxyResult]) -> Interval:
    """Return bits per byte of the worse less those of the better, paired by seed and chunk.

    The range knows of two kinds of chance: another seed (initial weights and batches) and other text. Their
    variances add up, and the degrees of freedom are Welch and Satterthwaite's. One seed has no range.
    """
    if not better:
        return Interval(value=None, low=None, high=None)
    by_seed = [_bits(w) - _bits(b) for b, w in zip(better, worse, strict=True)]
    value = sum(by_seed) / len(by_seed)
    if len(by_seed) < 2:
        return Interval(value=value, low=None, high=None)
    by_chunk = np.mean(
        [np.subtract(w.val_chunk_bits, b.val_chunk_bits) for b, w in zip(better, worse, strict=True)], axis=0
    )
    of_seeds = float(np.var(by_seed, ddof=1)) / len(by_seed)
    of_text = float(np.var(by_chunk, ddof=1)) / len(by_chunk) if len(by_chunk) > 1 else 0.0
    total = of_seeds + of_text
    if total == 0:
        return Interval(value=value, low=value, high=value)
    freedom = total**2 / (of_seeds**2 / (len(by_seed) - 1) + of_text**2 / max(1, len(by_chunk) - 1))
    reach = student_t(COVERAGE, freedom) * sqrt(total)
    return Interval(value=value, low=value - reach, high=value + reach)


def student_t(coverage: float, freedom: float) -> float:
    """Return the standard errors each side of a mean for that coverage of Student's distribution.

    With t = sqrt(freedom) tan(angle) its density becomes a power of a cosine, which is summed up.
    """
    angles = np.linspace(0, np.pi / 2, 50_001)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    return float(sqrt(freedom) * np.tan(np.interp(coverage * mass[-1], mass, angles)))
