"""Texts on scaled proxies: what was trained, and what that means for the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.text.wording import NOT_KNOWN, scales_text, score_text
from search.analysis.frontier import frontier
from search.analysis.ranking import (
    RankedBy,
    are_scaled,
    extrapolated_ranking,
    extrapolation_of,
    ranking,
    trained_ranking,
)
from search.store.results import SearchResult, TrialRecord
from search.training.scaled_proxy import deviations, split_blocks
from sizer.architecture import Architecture
from sizer.units import format_count

if TYPE_CHECKING:
    from search.analysis.extrapolation import Extrapolation
    from search.quality.law import LawPrediction

SCORE_COLUMN = "bits per byte ± se"
EXTRAPOLATED_COLUMN = "bits per byte extrapolated (80 % range)"
PROXY_COLUMN = "of its proxy ± se"
SCORE_AXIS = "validation bits per byte (lower is better)"
EXTRAPOLATED_AXIS = "bits per byte of the model,<br>extrapolated by the quality law (lower is better)"


def ranks_extrapolated(result: SearchResult) -> bool:
    """Return whether a study's models are ranked by scores extrapolated from their proxies."""
    return ranking(result).by is RankedBy.CARRIED_OVER


def score_columns(result: SearchResult) -> tuple[str, ...]:
    """Return headings of a model's scores, the one that ranks first."""
    return (EXTRAPOLATED_COLUMN, PROXY_COLUMN) if ranks_extrapolated(result) else (SCORE_COLUMN,)


def score_cells(result: SearchResult, record: TrialRecord) -> tuple[str, ...]:
    """Return a model's scores as text, in the order of `score_columns`."""
    own = score_text(record)
    return (_extrapolated_cell(result, record), own) if ranks_extrapolated(result) else (own,)


def ranked_text(result: SearchResult, record: TrialRecord) -> str:
    """Return a model's score in words; the extrapolated score first if it ranks."""
    own = score_text(record)
    if not ranks_extrapolated(result):
        return f"{own} bits per byte"
    return f"{_extrapolated_cell(result, record)} bits per byte (extrapolated), {own} of its proxy"


def _extrapolated_cell(result: SearchResult, record: TrialRecord) -> str:
    found = extrapolation_of(result)
    return extrapolated_text(None if found is None else found.predictions.get(record.number))


def of_proxies(result: SearchResult) -> str:
    """Return what subtitles add if the scores drawn are those of scaled proxies."""
    return " · of scaled proxies" if are_scaled(result) else ""


def proxy_text(proxy: Architecture, num_parameters: int | None) -> str:
    """Return a proxy in short, such as "hidden size 144, vocabulary 256, 8.65M parameters"."""
    count = "" if num_parameters is None else f", {format_count(num_parameters)} parameters"
    return f"hidden size {proxy.hidden_size}, vocabulary {proxy.vocab_size:,}{count}"


def extrapolated_text(prediction: LawPrediction | None) -> str:
    """Return an extrapolated score with its range, such as "1.623 (1.412 to 1.834)"."""
    if prediction is None:
        return NOT_KNOWN
    return f"{prediction.value:.3f} ({prediction.low:.3f} to {prediction.high:.3f})"


def scale_text(result: SearchResult) -> str:
    """Return how a study's proxies were scaled, such as "0.125 times as wide, vocabulary 256"."""
    width, vocabulary = (result.settings.get(f"proxy_{name}") for name in ("width_scale", "vocab_size"))
    return scales_text(width, vocabulary)


def frontier_notes(result: SearchResult) -> tuple[str, ...]:
    """Return notes for the frontier of a study of proxies; none for another study.

    What was trained, what ranks, and which models the frontier would hold by the other score.
    """
    if not are_scaled(result):
        return ()
    found, ranked = extrapolation_of(result), ranks_extrapolated(result)
    notes = [
        f"Scaled proxies ({scale_text(result)}) were trained instead of the models."
        if ranked
        else f"Scores are of scaled proxies ({scale_text(result)}) trained instead of the models."
    ]
    if found is None:
        notes.append(
            "Nothing is extrapolated to the models: that needs 4 scored proxies of 2 hidden sizes or more."
        )
    else:
        agreement = "" if found.agreement is None else f" (tau {found.agreement:.2f} with the proxies' order)"
        ranks = ", and ranks the models" if ranked else ""
        notes.append(
            f"What a model itself would score after {found.steps:,} steps on the same text, in the proxies' "
            f"vocabulary, is extrapolated by the quality law of {found.proxies} proxies"
            f"{_fitted(found)}{agreement}{ranks}. Errors of neighbours go together: ranges that overlap are "
            "not ties."
        )
        notes.append(f"{_by_the_other(result, found)}.")
    return tuple(notes)


def proxy_notes(result: SearchResult) -> tuple[str, ...]:
    """Return notes on the scores of a study of proxies; none for another study."""
    if not are_scaled(result):
        return ()
    notes = [*frontier_notes(result)]
    changed = sum(bool(deviation_texts(record)) for record in result.trained)
    if changed:
        notes.append(
            f"{changed} of {len(result.trained)} proxies have a ratio that differs from their model's."
        )
    if any(proxy_split_blocks(record, result.runtime) for record in result.trained):
        notes.append(
            "Proxies are rounded in the types of the model's file; a block that is longer than a row runs on "
            "into the next."
        )
    return tuple(notes)


def proxies_front(result: SearchResult) -> tuple[int, ...]:
    """Return trials of the frontier by the scores of what was trained, smallest file first."""
    return tuple(record.number for record in frontier(result, by=trained_ranking(result)))


def extrapolated_front(result: SearchResult, found: Extrapolation) -> tuple[int, ...]:
    """Return trials of the frontier by extrapolated scores, smallest file first."""
    return tuple(record.number for record in frontier(result, by=extrapolated_ranking(result, found)))


def _by_the_other(result: SearchResult, found: Extrapolation) -> str:
    if ranks_extrapolated(result):
        whose, others = "the proxies' own scores", proxies_front(result)
    else:
        whose, others = "extrapolated scores", extrapolated_front(result, found)
    if set(others) == {record.number for record in frontier(result)}:
        return f"By {whose} the frontier has the same models"
    return f"By {whose} the frontier would be trials {', '.join(map(str, others))}"


def _fitted(found: Extrapolation) -> str:
    return "" if found.fitted_steps == found.steps else f" after {found.fitted_steps:,} steps"


def deviation_texts(record: TrialRecord) -> tuple[str, ...]:
    if record.scaled is None:
        return ()
    return tuple(d.text for d in deviations(record.candidate.architecture, record.scaled))


def proxy_split_blocks(record: TrialRecord, runtime: str) -> tuple[int, ...]:
    if record.scaled is None:
        return ()
    return split_blocks(record.candidate.architecture, record.scaled, record.candidate.format, runtime)
