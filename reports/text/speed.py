"""Speed and energy of an estimate as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.text.section import Row, Section
from reports.text.wording import NOT_KNOWN, energy_text, predicted_text, rate_text
from sizer.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from sizer.devices.beyond_memory import BeyondMemory
    from sizer.devices.latency import Latency
    from sizer.model_estimate import Estimate
    from sizer.prediction import Prediction


def speed_section(estimate: Estimate) -> Section:
    """Return speed, energy and battery of an estimate with a known speed."""
    assert estimate.latency is not None
    latency, energy = estimate.latency, estimate.energy
    device = estimate.device.name if estimate.device else NOT_KNOWN
    prompt, context = estimate.workload.prompt_tokens, estimate.workload.context_tokens
    rows = [
        _predicted(f"decode at {context:,} tokens", latency.decode_tokens_per_s, rate_text, " tokens/s"),
        _predicted("decode after the prompt", latency.decode_at_start_tokens_per_s, rate_text, " tokens/s"),
        *_when_hot(latency),
        _predicted("prefill", latency.prefill_tokens_per_s, rate_text, " tokens/s"),
        _predicted(f"TTFT, {prompt:,}-token prompt", latency.time_to_first_token_s, format_seconds),
        _predicted("load", latency.load_s, format_seconds),
    ]
    if energy is None:
        rows.append(Row("energy per token", NOT_KNOWN, "power of this device not known"))
    else:
        rows.append(_predicted("energy per token", energy, energy_text))
        rows += _chat(estimate, energy)
    return Section(f"Speed and energy on {device}, with 80 % ranges", "", tuple(rows))


def _when_hot(latency: Latency) -> tuple[Row, ...]:
    if latency.sustained_tokens_per_s is None:
        return ()
    return (_predicted("decode when hot", latency.sustained_tokens_per_s, rate_text, " tokens/s"),)


def _chat(estimate: Estimate, joules: Prediction) -> tuple[Row, ...]:
    """Return what ten minutes of generating take of the battery; nothing without a known battery."""
    from sizer.devices.energy import chat

    assert estimate.device is not None
    assert estimate.latency is not None
    tokens, share = chat(estimate.device, estimate.latency, joules)
    if share is None:
        return ()
    remark = f"{share.low:.1%} to {share.high:.1%}; {rate_text(tokens.value)} tokens"
    return (Row("10-minute chat", f"{share.value:.1%} of battery", remark),)


def _predicted(label: str, prediction: Prediction, wording: Callable[[float], str], unit: str = "") -> Row:
    return Row(label, f"{wording(prediction.value)}{unit}", predicted_text(prediction, wording))


def beyond_memory_section(found: BeyondMemory) -> Section:
    """Return the speed of a model that does not fit, and how the engine runs it."""
    decode = _predicted("decode", found.decode_tokens_per_s, rate_text, " tokens/s")
    rows = [decode, Row("how", "", found.how)]
    if found.gpu_layers is not None:
        rows.append(Row("--gpu-layers", str(found.gpu_layers)))
    return Section("Beyond the memory, with an 80 % range", "", tuple(rows))
