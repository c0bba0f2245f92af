"""What came of each rung of a study: who trained in it, who went on, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from search.schedule.rungs import Promotion, RungEntry, RungSettings, promotions
from search.store.results import ProxyResult, SearchResult, TrialRecord, TrialStatus

_AT_ITS_END = "trained to its end"
_NOT_KNOWN = "not recorded"


class Outcome(NamedTuple):
    """One model at one rung."""

    trial: int
    val_bits_per_byte: float | None
    why: str  # reason for the promotion or its absence
    promoted: bool


class Rung(NamedTuple):
    """One rung: its length, and every model that has trained so far, in order of their numbers."""

    number: int  # from 0
    steps: int
    outcomes: tuple[Outcome, ...]
    open: bool  # nobody has trained on yet: who does may still change

    @property
    def promoted_trials(self) -> tuple[int, ...]:
        """Trials that train on."""
        return tuple(outcome.trial for outcome in self.outcomes if outcome.promoted)

    @property
    def scored(self) -> int:
        """Models that came to a score."""
        return sum(outcome.val_bits_per_byte is not None for outcome in self.outcomes)


def rung_history(result: SearchResult) -> tuple[Rung, ...]:
    """Return the rungs that models reached, shortest first; one for a study without rungs.

    The reason of a promotion is recomputed by the rule the search used (search/schedule/rungs.py), which
    needs the study's configuration. While models of a rung are still to be trained the promotions are those
    of the scores so far.
    """
    seed = int(result.settings.get("seed", 0))
    runs = {r.number: {run.rung: run for run in r.runs if run.seed == seed} for r in result.records}
    records = {r.number: r for r in result.records if r.repeats is None and runs[r.number]}
    numbers = sorted({rung for r in records for rung in runs[r]})
    final = _final_rung(result)
    found = []
    for number in numbers:
        cohort = {n: runs[n][number] for n in records if number in runs[n]}
        scores = {n: run.val_bits_per_byte if _scored(run) else None for n, run in cohort.items()}
        further = {n: number + 1 in runs[n] for n in cohort}
        found.append(
            Rung(
                number=number,
                steps=max(run.steps for run in cohort.values()),
                outcomes=_outcomes(result, records, scores, number, final, further),
                open=number < final and not any(further.values()),
            )
        )
    return tuple(found)


def _final_rung(result: SearchResult) -> int:
    """Number of the rung whose models are trained to their end; 0 for a study of one rung."""
    if result.config is not None:
        from search.schedule.plan import final_rung

        return final_rung(result.config)
    steps = str(result.settings.get("rungs", ""))
    return steps.count(",")


def _outcomes(
    result: SearchResult,
    records: Mapping[int, TrialRecord],
    scores: Mapping[int, float | None],
    number: int,
    final: int,
    further: Mapping[int, bool],
) -> tuple[Outcome, ...]:
    if number >= final:
        why, promoted = dict.fromkeys(scores, _AT_ITS_END), dict.fromkeys(scores, False)
    elif result.config is None:
        why, promoted = dict.fromkeys(scores, _NOT_KNOWN), dict(further)
    else:
        from search.schedule.plan import audited_trials

        settings = RungSettings(eta=result.config.training.eta, bins=result.config.training.size_bins)
        entries = [_entry(result, records[n], bits) for n, bits in scores.items() if bits is not None]
        audit = audited_trials(result.config, result.records)
        fate = promotions(entries, settings, first_rung=number == 0, audit=audit)
        why = {n: found.value for n, found in fate.items()}
        promoted = {n: found.promoted for n, found in fate.items()}
    return tuple(
        Outcome(n, bits, why[n], promoted[n])
        if bits is not None
        else Outcome(n, None, Promotion.NO_SCORE.value, False)
        for n, bits in scores.items()
    )


def _entry(result: SearchResult, record: TrialRecord, bits: float) -> RungEntry:
    return RungEntry(
        id=record.number,
        costs=record.costs(result.objectives),
        depth=record.candidate.architecture.executed_layers,
        loss=bits,
    )


def _scored(run: ProxyResult) -> bool:
    return run.status is TrialStatus.COMPLETE
