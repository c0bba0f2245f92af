"""The score that ranks a study's models: their own, or what the law extrapolates from scaled proxies.

Of models and proxies trained both ways extrapolated scores order the models better than the proxies' own do
(docs/proxies.md). So they rank wherever the law could be fitted; the proxies' own scores are shown next to
them. All that compares models asks `ranking`; the search itself, which has only what it trained, does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import TYPE_CHECKING, NamedTuple

from search.store.results import SearchResult, TrialRecord

if TYPE_CHECKING:
    from search.analysis.extrapolation import Extrapolation


@unique
class RankedBy(StrEnum):
    """Which score ranks, by its name in documents and tables."""

    TRAINED = "val_bits_per_byte"  # of what was trained: the model, or a proxy in its place
    CARRIED_OVER = "model_val_bits_per_byte"  # expected of the model, by the law of the proxies


class Score(NamedTuple):
    """A score and half the length of its bar: one standard error, or half of the range that holds 80 %."""

    bits_per_byte: float
    error: float


class Ranking(NamedTuple):
    """The models of a study that can be compared, and the score of each by its trial's number."""

    by: RankedBy
    records: tuple[TrialRecord, ...]
    scores: Mapping[int, Score]


def are_scaled(result: SearchResult) -> bool:
    """Return whether proxies were trained in place of a study's models."""
    return any(record.scaled is not None for record in result.records)


def extrapolation_of(result: SearchResult) -> Extrapolation | None:
    """Return the models' scores extrapolated from the study's proxies; None without enough proxies."""
    if not are_scaled(result):
        return None
    from search.analysis.extrapolation import (
        extrapolate_study,  # brings numpy, which other studies need not wait for
    )

    return extrapolate_study(result)


def ranking(result: SearchResult) -> Ranking:
    """Return the scores that rank a study: extrapolated if its proxies allow it, else of what was trained.

    What is extrapolated is for one length of training, so models that were stopped early can be compared too.
    Proxies as wide as their models, of another vocabulary alone, are ranked by what they scored: to them the
    law adds nothing but its own errors.
    """
    found = extrapolation_of(result) if _are_narrower(result) else None
    return trained_ranking(result) if found is None else extrapolated_ranking(result, found)


def extrapolated_ranking(result: SearchResult, found: Extrapolation) -> Ranking:
    """Return the extrapolated score of every model of the study, with half of its range."""
    return Ranking(
        by=RankedBy.CARRIED_OVER,
        records=tuple(record for record in result.trained if record.number in found.predictions),
        scores={n: Score(p.value, p.high - p.value) for n, p in found.predictions.items()},
    )


def _are_narrower(result: SearchResult) -> bool:
    """Return whether some trained model is narrower than the model that it stands for."""
    return any(
        r.trained_architecture.hidden_size < r.candidate.architecture.hidden_size for r in result.trained
    )


def trained_ranking(result: SearchResult) -> Ranking:
    """Return the scores of what was trained, of models that reached the last rung so far."""
    return Ranking(
        by=RankedBy.TRAINED,
        records=result.finalists,
        scores={record.number: trained_score(record) for record in result.trained},
    )


def trained_score(record: TrialRecord) -> Score:
    """Return a trial's score with its standard error."""
    assert record.proxy is not None, record.number
    assert record.proxy.val_bits_per_byte is not None, record.number
    return Score(record.proxy.val_bits_per_byte, record.proxy.val_bits_per_byte_sd or 0.0)
