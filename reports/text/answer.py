"""A study's answer in words: the most accurate and the smallest model of its frontier."""

from __future__ import annotations

from reports.text.scaled_proxies import ranked_text
from reports.text.wording import rate_text, shape_text
from search.analysis.frontier import frontier
from search.store.results import SearchResult, TrialRecord
from sizer.units import format_bytes

NOTHING_YET = "No model has been trained to a score yet."


def answer_texts(result: SearchResult) -> tuple[str, ...]:
    """Return one sentence for the most accurate model and, if it is another, one for the smallest."""
    front = frontier(result)
    if not front:
        return (NOTHING_YET,)
    best = f"Most accurate within the budget: {_model(result, front[-1])}."
    if front[0].number == front[-1].number:
        return (best,)
    return best, f"Smallest on the frontier: {_model(result, front[0])}."


def _model(result: SearchResult, record: TrialRecord) -> str:
    speed = record.decode_tokens_per_s
    parts = (
        f"trial {record.number}, {shape_text(record.candidate.architecture)} in {record.candidate.format}",
        f"a file of {format_bytes(record.file_bytes)}",
        *((f"{rate_text(speed.value)} tokens/s",) if speed else ()),
        ranked_text(result, record),
    )
    return ", ".join(parts)
