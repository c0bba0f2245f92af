"""Texts under the pointer in figures of a study's models."""

from __future__ import annotations

from html import escape

from reports.text.scaled_proxies import proxy_text
from reports.text.wording import decode_text, score_text, shape_text
from search.store.results import TrialRecord
from sizer.units import format_bytes, format_bytes_binary, format_count


def hover_text(record: TrialRecord, remark: str = "", *, score: str = "") -> str:
    """Return the text under the pointer for a trained model, as safe HTML; `score` is its score in words."""
    decode = record.decode_tokens_per_s
    steps = f" after {record.proxy.steps:,} steps" if record.proxy else ""
    lines = (
        f"<b>trial {record.number}</b>{escape(remark)}",
        escape(shape_text(record.candidate.architecture)),
        f"{escape(record.candidate.format)}, {format_bytes(record.file_bytes)} file, "
        f"{format_count(record.num_parameters)} parameters",
        f"{score or f'{score_text(record)} bits per byte'}{steps}",
        *_of_proxy(record),
        f"{format_bytes_binary(record.memory_bytes)} memory",
        f"decode {decode_text(decode)} tokens/s" if decode else "decode speed not known (no device)",
    )
    return "<br>".join(lines)


def _of_proxy(record: TrialRecord) -> tuple[str, ...]:
    if record.scaled is None or record.proxy is None:
        return ()
    return (f"of a proxy: {proxy_text(record.scaled, record.proxy.num_parameters)}",)
