"""A study's frontier as a table for notebooks."""

from __future__ import annotations

from dataclasses import dataclass

from search.analysis.frontier import frontier
from search.analysis.ranking import RankedBy, Ranking, ranking
from search.store.results import SearchResult, TrialRecord
from sizer.html_table import html_table
from sizer.units import format_bytes, format_count, format_rate

_COLUMNS = (
    "trial",
    "layers x hidden size",
    "format",
    "file",
    "parameters",
    "decode tokens/s",
)
_SCORES = {
    RankedBy.TRAINED: ("bits per byte ± se",),
    RankedBy.CARRIED_OVER: ("bits per byte extrapolated (80 % range)", "of its proxy ± se"),
}


def frontier_table_html(result: SearchResult) -> str:
    """Return the frontier, smallest file first, as an HTML table; names are escaped."""
    where = f" on {result.device}" if result.device else ""
    ranked = ranking(result)
    front = frontier(result, by=ranked)
    return html_table(
        (*_COLUMNS, *_SCORES[ranked.by]),
        [_cells(record, ranked) for record in front],
        caption=f"Study {result.study}{where}: {len(front)} of {len(result.trained)} trained models are on "
        "the frontier of file size and accuracy",
        text_columns=("layers x hidden size", "format"),
    )


def _cells(record: TrialRecord, ranked: Ranking) -> tuple[str, ...]:
    a, proxy, decode = record.candidate.architecture, record.proxy, record.decode_tokens_per_s
    assert proxy is not None, record.number
    assert proxy.val_bits_per_byte is not None, record.number
    shared = f", {a.sharing.text}" if a.sharing.repeat > 1 else ""
    speed = (
        f"{format_rate(decode.value)} ({format_rate(decode.low)} to {format_rate(decode.high)})"
        if decode
        else "-"
    )
    error, score = proxy.val_bits_per_byte_sd, ranked.scores[record.number]
    low, high = score.bits_per_byte - score.error, score.bits_per_byte + score.error
    carried = f"{score.bits_per_byte:.3f} ({low:.3f} to {high:.3f})"
    return (
        str(record.number),
        f"{a.num_layers} x {a.hidden_size}{shared}",
        record.candidate.format,
        format_bytes(record.file_bytes),
        format_count(record.num_parameters),
        speed,
        *((carried,) if ranked.by is RankedBy.CARRIED_OVER else ()),
        f"{proxy.val_bits_per_byte:.4f}{'' if error is None else f' ± {error:.4f}'}",
    )


@dataclass(frozen=True, slots=True)
class FrontierTable:
    """A study's frontier that a notebook shows as a table."""

    result: SearchResult

    def _repr_html_(self) -> str:
        return frontier_table_html(self.result)
