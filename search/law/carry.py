"""From scaled proxies to the models they stand for: the proxies' law, asked at the models' own width.

What is carried over is the score that a model would have after the same training as its proxy: the same steps
on the same text, in the proxies' vocabulary. It is the law's alone: by how much a proxy scores above or below
the law says nothing of its model (docs/proxies.md).

After few steps wide models have not yet gained what they will, and the law, which has seen narrow ones only,
thinks too well of them: of the gain it foresees, its error is 0.31 at 1,000 steps, 0.25 at 2,000, 0.17 at
8,000 and 0.09 at 83,000 (Gemstones, the same page). Below LONG_STEPS the range allows for it. It also allows
for the width of a head where that is one for all proxies and another for the models: the law has then no term
for it. Proxies of one width say nothing of others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import hypot, log
from statistics import fmean, stdev

from search.law.law import MIN_ROWS, LawPrediction, QualityLaw, fit_law
from search.law.law_prior import Term
from search.law.shapes import LawRow, ShapeFeatures, model_features, trial_features
from search.store.results import ProxyResult, SearchResult, TrialRecord, TrialStatus, combined
from search.trust.ranking import kendall

# Steps from which the law's own range holds, and what is allowed for before, as a share of the gain foreseen.
LONG_STEPS = 8_000
SHORT_SHARE = 0.3

# Every table, figure and note of a study asks anew; as many studies as are compared at a time are kept.
_KEPT_STUDIES = 8

# A longer rung teaches the law only from so many models on: before, the shorter one with more says more.
_ENOUGH_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOver:
    """What a study's proxies say of its models."""

    steps: int  # of the finalists, that the predictions are for
    fitted_steps: int  # of the runs that the law was fitted to
    proxies: int  # their number
    predictions: Mapping[int, LawPrediction]  # bits per byte of each trained trial's model
    agreement: float | None  # Kendall's tau of the predictions with the proxies' own scores


def carried(
    rows: Sequence[LawRow], proxies: Sequence[ShapeFeatures], models: Sequence[ShapeFeatures], *, steps: int
) -> tuple[LawPrediction, ...]:
    """Scores of models from rows of proxies trained for so many steps; `proxies` are those models' own."""
    law = fit_law(rows)
    assert Term.WIDTH in law.terms, "proxies of one width"
    share = SHORT_SHARE if steps < LONG_STEPS else 0.0
    predicted = zip(proxies, models, law.predict(proxies), law.predict(models), strict=True)
    return tuple(
        LawPrediction(
            value=full.value,
            sd=hypot(full.sd, share * (narrow.value - full.value), _unseen(law, proxy, model)),
        )
        for proxy, model, narrow, full in predicted
    )


def _unseen(law: QualityLaw, proxy: ShapeFeatures, model: ShapeFeatures) -> float:
    """What the head's width may do to the loss, by published tables, where the law has not seen it vary."""
    slope = law.prior.slopes[Term.HEAD_DIM]
    if Term.HEAD_DIM in law.terms:
        return 0.0
    level = sum(row.loss for row in law.rows) / len(law.rows)
    return level * hypot(slope.value, slope.sd) * abs(log(model.head_dim / proxy.head_dim))


def carried_over(result: SearchResult) -> CarriedOver | None:
    """Predictions for the models of a study of scaled proxies.

    After as many steps as the finalists had: where too few came so far to fit a law to, that of a shorter
    rung is moved by what those that came so far have gained since. None of another study, of fewer proxies
    than MIN_ROWS, and where all are of one width. Models too narrow for a proxy, trained themselves, teach
    the law and are predicted like the others.
    """
    if not any(record.scaled is not None for record in result.trained):
        return None
    return _carried_over(result.trained, result.finalists, result.runtime)


@lru_cache(maxsize=_KEPT_STUDIES)
def _carried_over(
    records: tuple[TrialRecord, ...], finalists: tuple[TrialRecord, ...], runtime: str
) -> CarriedOver | None:
    rung = _rung(records)
    runs = {record.number: run for record in records if (run := _run_at(record, rung)) is not None}
    features = {r.number: trial_features(r, runtime=runtime) for r in records}
    if len(runs) < MIN_ROWS or len({features[number].width for number in runs}) < 2:
        return None
    rows = [
        LawRow(
            name=record.trained_architecture.name,
            features=features[record.number],
            size_bytes=record.file_bytes,
            loss=_bits(runs[record.number]),
        )
        for record in records
        if record.number in runs
    ]
    steps = max(run.steps for run in runs.values())
    models = [model_features(record, runtime=runtime) for record in records]
    values = carried(rows, [features[r.number] for r in records], models, steps=steps)
    end, shift, of_shift = _longer(finalists, runs)
    predictions = {
        record.number: LawPrediction(value=found.value + shift, sd=hypot(found.sd, of_shift))
        for record, found in zip(records, values, strict=True)
    }
    return CarriedOver(
        steps=end or steps,
        fitted_steps=steps,
        proxies=len(rows),
        predictions=predictions,
        agreement=kendall([predictions[n].value for n in runs], [row.loss for row in rows]),
    )


def _longer(records: Sequence[TrialRecord], runs: Mapping[int, ProxyResult]) -> tuple[int, float, float]:
    """Finalists' steps, by how much their scores changed since these runs, and one model's deviation."""
    finalists = [(r.proxy, runs[r.number]) for r in records if r.proxy and r.number in runs]
    if not finalists:
        return 0, 0.0, 0.0
    steps = max(late.steps for late, _ in finalists)
    changes = [_bits(late) - _bits(early) for late, early in finalists]
    shift = fmean(changes)
    if len(changes) == 1:
        return steps, shift, abs(shift)  # nothing is known of how finalists differ
    return steps, shift, stdev(changes) * (1 + 1 / len(changes)) ** 0.5


def _rung(records: Sequence[TrialRecord]) -> int:
    """The longest rung with enough models, else the one with most."""
    rungs = sorted({run.rung for record in records for run in _scored(record)}, reverse=True)
    count = {rung: sum(_run_at(record, rung) is not None for record in records) for rung in rungs}
    enough = [rung for rung in rungs if count[rung] >= _ENOUGH_ROWS]
    return enough[0] if enough else max(rungs, key=lambda rung: count[rung], default=0)


def _run_at(record: TrialRecord, rung: int) -> ProxyResult | None:
    """What a trial's runs at a rung say together."""
    runs = [run for run in _scored(record) if run.rung == rung]
    return combined(runs) if runs else None


def _scored(record: TrialRecord) -> list[ProxyResult]:
    runs = record.runs or ((record.proxy,) if record.proxy else ())
    return [run for run in runs if run.status is TrialStatus.COMPLETE]


def _bits(run: ProxyResult) -> float:
    assert run.val_bits_per_byte is not None, run
    return run.val_bits_per_byte
