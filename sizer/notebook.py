"""An estimate as a table for notebooks: what `Estimate._repr_html_` shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sizer.html_table import html_table
from sizer.units import format_bytes, format_bytes_binary, format_count, format_rate, format_seconds

if TYPE_CHECKING:
    from sizer.estimate import Estimate
    from sizer.prediction import Prediction


def estimate_table_html(estimate: Estimate) -> str:
    """Headline figures of an estimate with their ranges and remarks, as an HTML table; names are escaped."""
    a, p, m = estimate.architecture, estimate.parameters, estimate.memory
    where = f" on {estimate.device.name}" if estimate.device else ""
    rows = [
        ("shape", f"{a.num_layers} x {a.hidden_size}", f"{a.num_heads}/{a.num_kv_heads} heads"),
        ("parameters", format_count(p.total), f"{p.total:,}"),
        ("file", format_bytes(estimate.file.total), f"{estimate.bits_per_weight:.2f} bits per weight"),
        ("memory", format_bytes_binary(m.total_bytes), _fit(estimate)),
    ]
    if estimate.latency is not None:
        latency = estimate.latency
        rows += [
            _predicted("decode, tokens/s", latency.decode_tokens_per_s, format_rate),
            _predicted("prefill, tokens/s", latency.prefill_tokens_per_s, format_rate),
            _predicted("first token", latency.time_to_first_token_s, format_seconds),
            _predicted("load", latency.load_s, format_seconds),
        ]
    if estimate.energy is not None:
        rows.append(_predicted("energy per token, mJ", estimate.energy, lambda joules: f"{1e3 * joules:.3g}"))
    return html_table(
        ("figure", "value", "remark"),
        rows,
        caption=f"{a.name}, {estimate.format} for {estimate.runtime}{where}",
        text_columns=("figure", "remark"),
    )


def _fit(estimate: Estimate) -> str:
    memory = estimate.memory
    context = f"at {memory.context_tokens:,} tokens of context"
    if memory.budget_bytes is None:
        return context
    verb = "fits in" if memory.fits else "does not fit in"
    return f"{context}, {verb} {format_bytes_binary(memory.budget_bytes)}"


def _predicted(label: str, prediction: Prediction, wording: Callable[[float], str]) -> tuple[str, str, str]:
    spread = f"{wording(prediction.low)} to {wording(prediction.high)}, {prediction.basis.value}"
    return label, wording(prediction.value), spread
