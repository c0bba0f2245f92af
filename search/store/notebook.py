"""A study's frontier as a table for notebooks: what `SearchResult._repr_html_` shows."""

from __future__ import annotations

from search.law.pareto import frontier
from search.store.results import SearchResult, TrialRecord
from sizer.html_table import html_table
from sizer.units import format_bytes, format_count, format_rate

_COLUMNS = (
    "trial",
    "layers x width",
    "format",
    "file",
    "parameters",
    "decode tokens/s",
    "bits per byte ± se",
)


def frontier_table_html(result: SearchResult) -> str:
    """The frontier, smallest file first, as an HTML table; names are escaped."""
    where = f" on {result.device}" if result.device else ""
    front = frontier(result)
    return html_table(
        _COLUMNS,
        [_cells(record) for record in front],
        caption=f"Study {result.study}{where}: {len(front)} of {len(result.trained)} trained models are on "
        "the frontier of file size and accuracy",
        text_columns=("layers x width", "format"),
    )


def _cells(record: TrialRecord) -> tuple[str, ...]:
    a, proxy, decode = record.candidate.architecture, record.proxy, record.decode_tokens_per_s
    assert proxy is not None, record.number
    assert proxy.val_bits_per_byte is not None, record.number
    shared = f", {a.sharing.strategy.value} x{a.sharing.repeat}" if a.sharing.repeat > 1 else ""
    speed = (
        f"{format_rate(decode.value)} ({format_rate(decode.low)} to {format_rate(decode.high)})"
        if decode
        else "-"
    )
    error = proxy.val_bits_per_byte_sd
    return (
        str(record.number),
        f"{a.num_layers} x {a.hidden_size}{shared}",
        record.candidate.format,
        format_bytes(record.file_bytes),
        format_count(record.num_parameters),
        speed,
        f"{proxy.val_bits_per_byte:.4f}{'' if error is None else f' ± {error:.4f}'}",
    )
