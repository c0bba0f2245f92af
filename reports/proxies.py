"""What a study of scaled proxies says of itself: what was trained, and what that means for the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.wording import NOT_KNOWN, scales_text
from search.law.pareto import front, frontier
from search.proxy.scaled import deviations, split_blocks
from search.store.results import SearchResult, TrialRecord
from sizer.architecture import Architecture
from sizer.units import format_count

if TYPE_CHECKING:
    from search.law.carry import CarriedOver
    from search.law.law import LawPrediction

CARRIED_COLUMN = "model itself (80 % range)"


def are_scaled(result: SearchResult) -> bool:
    """Whether anything was trained in the place of a study's models."""
    return any(record.scaled is not None for record in result.records)


def carried(result: SearchResult) -> CarriedOver | None:
    """What the study's proxies say of its models; None without proxies, or of too few."""
    if not are_scaled(result):
        return None
    from search.law.carry import carried_over  # brings numpy, which other studies need not wait for

    return carried_over(result)


def proxy_text(proxy: Architecture, num_parameters: int | None) -> str:
    """A proxy in short, such as "width 144, vocabulary 256, 8.65M parameters"."""
    count = "" if num_parameters is None else f", {format_count(num_parameters)} parameters"
    return f"width {proxy.hidden_size}, vocabulary {proxy.vocab_size:,}{count}"


def carried_text(prediction: LawPrediction | None) -> str:
    """A carried-over score with its range, such as "1.62 (1.41 to 1.83)"."""
    if prediction is None:
        return NOT_KNOWN
    return f"{prediction.value:.2f} ({prediction.low:.2f} to {prediction.high:.2f})"


def scale_text(result: SearchResult) -> str:
    """How a study's proxies were scaled, such as "0.125 times as wide, vocabulary 256"."""
    width, vocabulary = (result.settings.get(f"proxy_{name}") for name in ("width_scale", "vocab_size"))
    return scales_text(width, vocabulary)


def proxy_notes(result: SearchResult) -> tuple[str, ...]:
    """Sentences on what the scores of a study of proxies are of; none for another."""
    if not are_scaled(result):
        return ()
    notes = [f"Scores are of scaled proxies ({scale_text(result)}) trained in the place of the models."]
    found = carried(result)
    if found is None:
        notes.append(
            "Nothing is carried over to the models: that takes 4 scored proxies of 2 widths or more."
        )
    else:
        agreement = "" if found.agreement is None else f" (tau {found.agreement:.2f} with the proxies' order)"
        notes.append(
            f"What a model itself would score after {found.steps:,} steps on the same text, in the proxies' "
            f"vocabulary, is carried over by the law of {found.proxies} proxies{_fitted(found)}{agreement}. "
            "Errors of neighbours go together: ranges that overlap are not ties."
        )
        notes.append(f"{_by_carried(result, found)}.")
    changed = sum(bool(_deviations(record)) for record in result.trained)
    if changed:
        notes.append(f"{changed} of {len(result.trained)} proxies have a ratio that their model has not.")
    if any(_split_blocks(record, result.runtime) for record in result.trained):
        notes.append(
            "Proxies are rounded in the types of the model's file; a block that is longer than a row runs on "
            "into the next."
        )
    return tuple(notes)


def carried_front(result: SearchResult, found: CarriedOver) -> tuple[int, ...]:
    """Trials whose file and carried-over score no other beats, smallest file first."""
    known = [record for record in result.trained if record.number in found.predictions]
    points = [(record.file_bytes, found.predictions[record.number].value) for record in known]
    kept = sorted(front(points), key=lambda place: points[place])
    return tuple(known[place].number for place in kept)


def _by_carried(result: SearchResult, found: CarriedOver) -> str:
    kept, shown = carried_front(result, found), {record.number for record in frontier(result)}
    if set(kept) == shown:
        return "By the scores carried over the frontier has the same models"
    return f"By the scores carried over the frontier would be trials {', '.join(map(str, kept))}"


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
    """How proxies were scaled and what the law they are carried over by rests on; None without any."""
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
    return {**{name: result.settings.get(f"proxy_{name}") for name in names}, "carried_over": law}


def proxy_document(record: TrialRecord, runtime: str, found: CarriedOver | None) -> dict[str, Any]:
    """Keys of a point of the frontier: what was trained in the model's place, and the score carried over."""
    if record.scaled is None:
        return {"proxy": None, "model_val_bits_per_byte": None}
    assert record.proxy is not None, record.number
    prediction = None if found is None else found.predictions.get(record.number)
    return {
        "proxy": {
            **record.scaled.to_dict(),
            "num_parameters": record.proxy.num_parameters,
            "deviations": list(_deviations(record)),
            "split_blocks": list(_split_blocks(record, runtime)),
        },
        "model_val_bits_per_byte": None
        if prediction is None
        else {"value": prediction.value, "low": prediction.low, "high": prediction.high},
    }
