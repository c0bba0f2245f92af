"""Headline figures side by side: the writer, and the figures of an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from reports.html.render import render
from reports.text.wording import NOT_KNOWN, energy_text, fit_text, predicted_text, rate_text
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from sizer.model_estimate import Estimate
    from sizer.prediction import Prediction


class Tile(NamedTuple):
    """A figure with its name above it and its range or remark below."""

    label: str
    value: str
    remark: str = ""
    is_good: bool | None = None  # colours the remark; None: as the rest


def tiles_html(tiles: Sequence[Tile]) -> Markup:
    """Return figures as safe HTML; its style is `tiles.css`."""
    return render("tiles.html", tiles=tiles)


def headline_tiles(estimate: Estimate) -> tuple[Tile, ...]:
    """Return parameters, file, memory, speed and energy of an estimate, each with its range or a remark."""
    parameters, latency = estimate.parameters, estimate.latency
    prompt = estimate.workload.prompt_tokens
    return (
        Tile(
            "Parameters",
            format_count(parameters.total),
            f"{format_count(parameters.non_embedding)} outside embedding and head",
        ),
        _file(estimate),
        _memory(estimate),
        _decode(estimate),
        _predicted(
            f"TTFT, {prompt:,}-token prompt",
            estimate,
            latency and latency.time_to_first_token_s,
            format_seconds,
        ),
        _predicted("Energy per token", estimate, estimate.energy, energy_text),
    )


def _file(estimate: Estimate) -> Tile:
    if estimate.weights is None:
        return Tile("File", NOT_KNOWN, estimate.unsupported["weights"], False)
    remark = f"{estimate.format}, {estimate.bits_per_weight:.2f} bits per weight"
    return Tile("File", format_bytes(estimate.file.total), remark)


def _memory(estimate: Estimate) -> Tile:
    memory = estimate.held
    if memory is None:
        return Tile("Memory", NOT_KNOWN, estimate.unsupported["memory"], False)
    budget = memory.budget_bytes
    return Tile(
        "Memory",
        format_bytes_binary(memory.total_bytes),
        "no memory limit known" if budget is None else fit_text(memory.limited_bytes, budget),
        None if budget is None else memory.fits,
    )


def _decode(estimate: Estimate) -> Tile:
    """Return the speed at the whole context, which limits hold, and that of a short conversation."""
    load, latency = estimate.workload, estimate.latency
    tile = _predicted("Decode, tokens/s", estimate, latency and latency.decode_tokens_per_s, rate_text)
    if latency is None:
        return tile
    short = rate_text(latency.decode_at_start_tokens_per_s.value)
    remark = f"at {load.context_tokens:,} tokens, {tile.remark}; {short} after the prompt"
    return tile._replace(remark=remark)


def _predicted(
    label: str, estimate: Estimate, prediction: Prediction | None, wording: Callable[[float], str]
) -> Tile:
    """Return a figure with its range, or with the reason why it is not known."""
    if prediction is not None:
        return Tile(label, wording(prediction.value), f"80 % range {predicted_text(prediction, wording)}")
    if "latency" in estimate.unsupported:
        return Tile(label, NOT_KNOWN, estimate.unsupported["latency"])
    device = estimate.device
    reason = "choose a device" if device is None else f"no speed known with {estimate.runtime} on this device"
    return Tile(label, NOT_KNOWN, reason)
