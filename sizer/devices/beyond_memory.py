"""Decoding of a model larger than the memory: split between card and CPU, or streamed from storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sizer.architecture import Architecture
from sizer.devices.constants import family_pool, profiles
from sizer.devices.device import Device
from sizer.devices.latency import speed_of, with_format
from sizer.devices.speed_model import decode_seconds, kv_bytes_read, stored_costs
from sizer.devices.usable_memory import has_card
from sizer.formats.stored import StoredTensor
from sizer.memory import MemoryBreakdown
from sizer.prediction import Basis, Prediction
from sizer.workload import Workload

# Six rows of llama.cpp with layers on both sides: Gemma-3-12B, Qwen3-14B, phi-4, gemma-2-9B and Qwen2.5-14B
# on an RTX 2080 of 8 GB (AlexsJones/llmfit#774, #778) are within a factor of 1.2, Qwen3-30B-A3B on an RTX
# 5070 (llmfit's community rows) within 1.9.
_SPLIT_FACTOR = 2.0


class BeyondMemory(NamedTuple):
    """Speed of a model that does not fit, and how the engine runs it all the same."""

    decode_tokens_per_s: Prediction
    how: str
    gpu_layers: int | None = None  # layers on the card, as `llama.cpp --gpu-layers` takes them

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found: dict[str, Any] = {"decode_tokens_per_s": self.decode_tokens_per_s.to_dict(), "how": self.how}
        return found | ({} if self.gpu_layers is None else {"gpu_layers": self.gpu_layers})


def beyond_memory(
    *,
    device: Device,
    backend: str,
    runtime: str,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    format_name: str,
    memory: MemoryBreakdown,
    workload: Workload,
) -> BeyondMemory | None:
    """Predict decoding of a model above the memory's limit; None for an engine that cannot do it.

    llama.cpp runs the layers that the card does not hold on the CPU, with the RAM of a typical PC; without a
    card it reads the pages that are missing from storage at every step. `workload.gpu_layers` states how many
    layers lie on the card, else as many as fit.
    """
    asked = workload.gpu_layers
    if runtime != "llama.cpp" or memory.budget_bytes is None:
        return None
    model = stored_costs(architecture, stored)
    model = with_format(model, runtime, device, backend, format_name)
    speed = speed_of(device, runtime, model.bits_per_weight, backend)
    if speed is None:
        return None
    held = memory.budget_bytes / memory.total_bytes
    whole_s = decode_seconds(model, kv_bytes_read(architecture, workload), speed.constants)
    if has_card(device) and backend != "cpu":
        # the slots asked for are the output's and then those of layers
        layers = int(held * architecture.executed_layers) if asked is None else max(asked - 1, 0)
        layers = min(layers, architecture.executed_layers)
        if layers == architecture.executed_layers:
            return None  # nothing is left for the CPU
        if asked is not None and memory.fits is False:
            return None  # the card does not hold the layers that are asked for
        share = layers / architecture.executed_layers
        host = family_pool("x86", runtime)
        if host is None:
            return None
        read = model.step_bytes + kv_bytes_read(architecture, workload)
        value = 1 / (share * whole_s + (1 - share) * read / host.large_bytes_per_s)
        how = f"split: {layers} of {architecture.executed_layers} layers on the card, the rest on the CPU"
        return BeyondMemory(_around(value, _SPLIT_FACTOR), how, layers if asked is None else asked)
    if held >= 1:
        return None  # nothing is left to stream: layers were asked for where there is no card
    start = profiles().start
    storage = device.storage_read_bytes_per_s
    rate = storage.value if storage else start.storage_read_bytes_per_s
    missing_s = (1 - held) * model.step_bytes / rate
    factor = speed.decode_factor
    return BeyondMemory(
        Prediction(
            value=1 / (whole_s + missing_s),
            low=1 / (factor * whole_s + start.storage_factor * missing_s),
            # the system may keep more pages than the rule for one app allows
            high=factor / whole_s,
            basis=Basis.SPECIFICATION,
        ),
        f"streamed: {1 - held:.0%} of the weights read from storage at each step",
    )


def _around(value: float, factor: float) -> Prediction:
    return Prediction(value=value, low=value / factor, high=value * factor, basis=Basis.SPECIFICATION)
