"""What a study of scaled proxies says of itself: what was trained, and what that means for the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.wording import NOT_KNOWN, scales_text, score_text
from search.law.pareto import frontier
from search.law.scores import (
    RankedBy,
    are_scaled,
    carried,
    carried_ranking,
    ranking,
    trained_ranking,
)
from search.proxy.scaled import deviations, split_blocks
from search.store.results import SearchResult, TrialRecord
from sizer.architecture import Architecture
from sizer.units import format_count

if TYPE_CHECKING:
    from search.law.carry import CarriedOver
    from search.law.law import LawPrediction

SCORE_COLUMN = "bits per byte ± se"
CARRIED_COLUMN = "bits per byte carried over (80 % range)"
PROXY_COLUMN = "of its proxy ± se"
SCORE_AXIS = "validation bits per byte (lower is better)"
CARRIED_AXIS = "predicted bits per byte of the model,<br>carried over by the law (lower is better)"


def ranks_carried(result: SearchResult) -> bool:
    """Whether a study's models are ranked by what the law carries over from their proxies."""
    return ranking(result).by is RankedBy.CARRIED_OVER


def score_columns(result: SearchResult) -> tuple[str, ...]:
    """Headings of a model's scores, the one that ranks first."""
    return (CARRIED_COLUMN, PROXY_COLUMN) if ranks_carried(result) else (SCORE_COLUMN,)


def score_cells(result: SearchResult, record: TrialRecord) -> tuple[str, ...]:
    """A model's scores as text, in the order of `score_columns`."""
    own = score_text(record)
    return (_carried_cell(result, record), own) if ranks_carried(result) else (own,)


def ranked_text(result: SearchResult, record: TrialRecord) -> str:
    """A model's score in words: what it was trained to, behind what is carried over where that ranks."""
    own = score_text(record)
    if not ranks_carried(result):
        return f"{own} bits per byte"
    return f"{_carried_cell(result, record)} bits per byte carried over by the law, {own} of its proxy"


def _carried_cell(result: SearchResult, record: TrialRecord) -> str:
    found = carried(result)
    return carried_text(None if found is None else found.predictions.get(record.number))


def of_proxies(result: SearchResult) -> str:
    """What subtitles add where the scores drawn are not the models' own."""
    return " · of scaled proxies" if are_scaled(result) else ""


def proxy_text(proxy: Architecture, num_parameters: int | None) -> str:
    """A proxy in short, such as "width 144, vocabulary 256, 8.65M parameters"."""
    count = "" if num_parameters is None else f", {format_count(num_parameters)} parameters"
    return f"width {proxy.hidden_size}, vocabulary {proxy.vocab_size:,}{count}"


def carried_text(prediction: LawPrediction | None) -> str:
    """A carried-over score with its range, such as "1.623 (1.412 to 1.834)"."""
    if prediction is None:
        return NOT_KNOWN
    return f"{prediction.value:.3f} ({prediction.low:.3f} to {prediction.high:.3f})"


def scale_text(result: SearchResult) -> str:
    """How a study's proxies were scaled, such as "0.125 times as wide, vocabulary 256"."""
    width, vocabulary = (result.settings.get(f"proxy_{name}") for name in ("width_scale", "vocab_size"))
    return scales_text(width, vocabulary)


def frontier_notes(result: SearchResult) -> tuple[str, ...]:
    """What stands under every frontier of a study of proxies, a sentence or two a note; none for another.

    What was trained, what ranks, and which models the frontier would hold by the other score.
    """
    if not are_scaled(result):
        return ()
    found, ranked = carried(result), ranks_carried(result)
    notes = [
        f"Scaled proxies ({scale_text(result)}) were trained in the place of the models."
        if ranked
        else f"Scores are of scaled proxies ({scale_text(result)}) trained in the place of the models."
    ]
    if found is None:
        notes.append(
            "Nothing is carried over to the models: that takes 4 scored proxies of 2 widths or more."
        )
    else:
        agreement = "" if found.agreement is None else f" (tau {found.agreement:.2f} with the proxies' order)"
        ranks = ", and ranks the models" if ranked else ""
        notes.append(
            f"What a model itself would score after {found.steps:,} steps on the same text, in the proxies' "
            f"vocabulary, is carried over by the law of {found.proxies} proxies{_fitted(found)}{agreement}"
            f"{ranks}. Errors of neighbours go together: ranges that overlap are not ties."
        )
        notes.append(f"{_by_the_other(result, found)}.")
    return tuple(notes)


def proxy_notes(result: SearchResult) -> tuple[str, ...]:
    """Sentences on what the scores of a study of proxies are of; none for another."""
    if not are_scaled(result):
        return ()
    notes = [*frontier_notes(result)]
    changed = sum(bool(_deviations(record)) for record in result.trained)
    if changed:
        notes.append(f"{changed} of {len(result.trained)} proxies have a ratio that their model has not.")
    if any(_split_blocks(record, result.runtime) for record in result.trained):
        notes.append(
            "Proxies are rounded in the types of the model's file; a block that is longer than a row runs on "
            "into the next."
        )
    return tuple(notes)


def proxies_front(result: SearchResult) -> tuple[int, ...]:
    """Trials of the frontier by the scores of what was trained, smallest file first."""
    return tuple(record.number for record in frontier(result, by=trained_ranking(result)))


def carried_front(result: SearchResult, found: CarriedOver) -> tuple[int, ...]:
    """Trials of the frontier by the scores carried over, smallest file first."""
    return tuple(record.number for record in frontier(result, by=carried_ranking(result, found)))


def _by_the_other(result: SearchResult, found: CarriedOver) -> str:
    if ranks_carried(result):
        whose, others = "the proxies' own scores", proxies_front(result)
    else:
        whose, others = "the scores carried over", carried_front(result, found)
    if set(others) == {record.number for record in frontier(result)}:
        return f"By {whose} the frontier has the same models"
    return f"By {whose} the frontier would be trials {', '.join(map(str, others))}"


def _fitted(found: CarriedOver) -> str:
    return "" if found.fitted_steps == found.steps else f" after {found.fitted_steps:,} steps"


def _deviations(record: TrialRecord) -> tuple[str, ...]:
    if record.scaled is None:
        return ()
    return tuple(d.text for d in deviations(record.candidate.architecture, record.scaled))


def _split_blocks(record: TrialRecord, runtime: str) -> tuple[int, ...]:
    if record.scaled is None:
        return ()
    return split_blocks(record.candidate.architecture, record.scaled, record.candidate.format, runtime)


def proxies_document(result: SearchResult, found: CarriedOver | None) -> dict[str, Any] | None:
    """How proxies were scaled, which score ranks and what the law behind it rests on; None without any.

    Both frontiers are listed by trial, that of the proxies' own scores and that of the scores carried over.
    """
    if not are_scaled(result):
        return None
    law = None
    if found is not None:
        law = {
            "steps": found.steps,
            "fitted_steps": found.fitted_steps,
            "proxies": found.proxies,
            "kendall": found.agreement,
            "frontier": list(carried_front(result, found)),
        }
    names = ("width_scale", "vocab_size")
    return {
        **{name: result.settings.get(f"proxy_{name}") for name in names},
        "ranked_by": ranking(result).by.value,
        "frontier": list(proxies_front(result)),
        "carried_over": law,
    }


def proxy_document(record: TrialRecord, runtime: str, found: CarriedOver | None) -> dict[str, Any]:
    """Keys of a point of the frontier: what was trained in the model's place, and the score carried over."""
    prediction = None if found is None else found.predictions.get(record.number)
    return {
        "proxy": _trained_document(record, runtime),
        "model_val_bits_per_byte": None
        if prediction is None
        else {"value": prediction.value, "low": prediction.low, "high": prediction.high},
    }


def _trained_document(record: TrialRecord, runtime: str) -> dict[str, Any] | None:
    if record.scaled is None:
        return None
    assert record.proxy is not None, record.number
    return {
        **record.scaled.to_dict(),
        "num_parameters": record.proxy.num_parameters,
        "deviations": list(_deviations(record)),
        "split_blocks": list(_split_blocks(record, runtime)),
    }
