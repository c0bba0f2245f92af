"""An estimate as a table for notebooks: what `Estimate._repr_html_` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sizer.html_table import html_table
from sizer.prediction import Basis
from sizer.units import format_bytes, format_bytes_binary, format_count, format_rate, format_seconds


def estimate_table_html(document: Mapping[str, Any], prompt_tokens: int) -> str:
    """Return headline figures of a `sizer.estimate/1` document as an HTML table; names are escaped."""
    a, weights, memory = document["architecture"], document["weights"], document["memory"]
    latency, total = document["latency"], document["parameters"]["total"]
    where = f" on {document['device']}" if document["device"] else ""
    rows = [("parameters", format_count(total), f"{total:,}")]
    if a["num_layers"] and a["hidden_size"]:
        heads = f"{a['num_heads']} query / {a['num_kv_heads']} KV heads"
        rows.insert(0, ("shape", f"{a['num_layers']} x {a['hidden_size']}", heads))
    if weights is not None:
        bits = f"{weights['bits_per_weight']:.2f} bits per weight"
        rows.append(("file", format_bytes(weights["file_bytes"]), bits))
    if memory is not None:
        rows.append(("memory", format_bytes_binary(memory["total_bytes"]), _fit(memory)))
    rows += [(part, "-", reason) for part, reason in document["unsupported"].items()]
    for label, key, wording in (
        ("decode, tokens/s", "decode_tokens_per_s", format_rate),
        ("prefill, tokens/s", "prefill_tokens_per_s", format_rate),
        (f"TTFT, {prompt_tokens:,}-token prompt", "time_to_first_token_s", format_seconds),
        ("load", "load_s", format_seconds),
    ):
        if latency is not None and latency[key] is not None:
            rows.append(_predicted(label, latency[key], wording))
    if document["energy"] is not None:
        joules = document["energy"]["joules_per_token"]
        rows.append(_predicted("energy per token, mJ", joules, lambda value: f"{1e3 * value:.3g}"))
    return html_table(
        ("figure", "value", "80 % range, remark"),
        rows,
        caption=f"{a['name']}{_deployment(weights)}{where}",
        text_columns=("figure", "80 % range, remark"),
    )


def _deployment(weights: Mapping[str, Any] | None) -> str:
    return "" if weights is None else f", {weights['format']} for {weights['runtime']}"


def _fit(memory: Mapping[str, Any]) -> str:
    context = f"at {memory['context']:,} tokens of context"
    if memory["budget_bytes"] is None:
        return context
    verb = {True: "fits in", False: "does not fit in", None: "may fit in"}[memory["fits"]]
    longest = f"; largest context that fits: {memory['max_context']:,}"
    return f"{context}, {verb} {format_bytes_binary(memory['budget_bytes'])}{longest}"


def _predicted(
    label: str, prediction: Mapping[str, Any], wording: Callable[[float], str]
) -> tuple[str, str, str]:
    spread = f"{wording(prediction['low'])} to {wording(prediction['high'])}"
    return label, wording(prediction["value"]), f"{spread}, {Basis(prediction['basis']).label}"
