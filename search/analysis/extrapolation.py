"""From scaled proxies to the models they stand for: the proxies' law, asked at the models' shape and tokens.

What is extrapolated is the score that a model would have after the same training as the study's finalists, on
the same text, in the proxies' vocabulary. It is the law's alone: by how much a proxy scores above or below
the law is no evidence about its model (docs/proxies.md). Runs of every length from the longest rung with
enough models on teach the law, which has tokens in it. Proxies of one width are no evidence about others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from search.quality.features import Feature, LawRow, ShapeFeatures, law_row, model_features
from search.quality.law import MIN_ROWS, LawPrediction, fit_law
from search.stats.rank_correlation import kendall
from search.store.results import ProxyResult, SearchResult, TrialRecord, TrialStatus, combined

# Every table, figure and note of a study asks again; the studies compared at one time are cached.
_KEPT_STUDIES = 8

# A longer rung is fitted only from this many models on: below, a shorter rung with more models is better.
_ENOUGH_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrapolation:
    """Scores of a study's models, extrapolated from its proxies."""

    steps: int  # of the finalists, that the predictions are for
    fitted_steps: int  # of the runs that the law was fitted to
    proxies: int  # their number
    predictions: Mapping[int, LawPrediction]  # bits per byte of each trained trial's model
    agreement: float | None  # Kendall's tau of the predictions with the proxies' own scores


def extrapolate(rows: Sequence[LawRow], models: Sequence[ShapeFeatures]) -> tuple[LawPrediction, ...]:
    """Predict scores of models, each after its own tokens, from rows of proxies."""
    law = fit_law(rows)
    assert Feature.WIDTH in law.varied, "proxies of one width"
    return law.predict(models)


def extrapolate_study(result: SearchResult, *, tokens: float | None = None) -> Extrapolation | None:
    """Predict the scores of a study's models from its scaled proxies.

    After `tokens` of training; without, after as many as the finalists had. None of another study, of fewer
    proxies than MIN_ROWS, and where all are of one width. Models too narrow for a proxy, trained themselves,
    teach the law and are predicted like the others.
    """
    if not any(record.scaled is not None for record in result.trained):
        return None
    return _extrapolated(result.trained, result.runtime, tokens)


@lru_cache(maxsize=_KEPT_STUDIES)
def _extrapolated(
    records: tuple[TrialRecord, ...], runtime: str, tokens: float | None
) -> Extrapolation | None:
    first = _rung(records)
    rungs = sorted({run.rung for record in records for run in _scored(record) if run.rung >= first})
    runs = {
        (record.number, rung): run
        for record in records
        for rung in rungs
        if (run := _run_at(record, rung)) is not None
    }
    by_number = {record.number: record for record in records}
    rows = {
        key: row
        for key, run in runs.items()
        if (row := law_row(by_number[key[0]], runtime=runtime, run=run)) is not None
    }
    proxies = {number for number, rung in rows if rung == first}
    if len(proxies) < MIN_ROWS or len({row.features.width for row in rows.values()}) < 2:
        return None
    longest = max(row.features.tokens for row in rows.values())
    models = [model_features(record, runtime=runtime, tokens=tokens or longest) for record in records]
    values = extrapolate(list(rows.values()), models)
    predictions = {record.number: found for record, found in zip(records, values, strict=True)}
    taught = [(number, row.loss) for (number, rung), row in rows.items() if rung == first]
    return Extrapolation(
        steps=max(run.steps for run in runs.values()),
        fitted_steps=max(run.steps for (_, rung), run in runs.items() if rung == first),
        proxies=len(proxies),
        predictions=predictions,
        agreement=kendall([predictions[number].value for number, _ in taught], [loss for _, loss in taught]),
    )


def _rung(records: Sequence[TrialRecord]) -> int:
    """Return the longest rung with enough models, else the one with most."""
    rungs = sorted({run.rung for record in records for run in _scored(record)}, reverse=True)
    count = {rung: sum(_run_at(record, rung) is not None for record in records) for rung in rungs}
    enough = [rung for rung in rungs if count[rung] >= _ENOUGH_ROWS]
    return enough[0] if enough else max(rungs, key=lambda rung: count[rung], default=0)


def _run_at(record: TrialRecord, rung: int) -> ProxyResult | None:
    """Combine a trial's runs at a rung."""
    runs = [run for run in _scored(record) if run.rung == rung]
    return combined(runs) if runs else None


def _scored(record: TrialRecord) -> list[ProxyResult]:
    runs = record.runs or ((record.proxy,) if record.proxy else ())
    return [run for run in runs if run.status is TrialStatus.COMPLETE]
