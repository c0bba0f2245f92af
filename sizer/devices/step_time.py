"""Parts of the time of a decoding step, and which part limits decoding and prefill."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sizer.devices.latency import speed_of, with_format
from sizer.devices.profile import Profile
from sizer.devices.speed_model import (
    ModelCosts,
    decode_seconds,
    kv_bytes_read,
    prefill_seconds,
    stored_costs,
)
from sizer.devices.speed_model import at_full_context as full_context
from sizer.runtimes import runtime

if TYPE_CHECKING:
    from sizer.model_estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of the parts of one decoding step; they sum to 1 / tokens per second."""

    weights_s: float  # reading the weights
    layers_s: float  # overhead of layers: kernels, rows and columns, independent of bytes
    kv_cache_s: float  # reading keys and values
    fixed_s: float  # per-token overhead

    @property
    def total_s(self) -> float:
        """Return the seconds of the whole step."""
        return self.weights_s + self.layers_s + self.kv_cache_s + self.fixed_s

    @property
    def binds(self) -> str:
        """Return the slowest part: "weights", "layers", "kv_cache" or "fixed"."""
        parts: dict[str, float] = asdict(self)
        return max(parts, key=lambda name: parts[name]).removesuffix("_s")

    def to_dict(self) -> dict[str, Any]:
        """Return the parts and the slowest one as plain JSON values."""
        return {**asdict(self), "binds": self.binds}


def step_time(sized: Estimate) -> StepTime | None:
    """Split a decoding step after the prompt into its parts; None where no speed is known.

    Each part is the difference that its removal makes to `decode_seconds`.
    """
    known = _model_and_constants(sized)
    if known is None:
        return None
    model, kv_bytes, c = known
    total_s = decode_seconds(model, kv_bytes, c)
    no_cache = model._replace(kv_elements=0)
    without_cache_s = decode_seconds(no_cache, 0.0, c)
    no_overhead = c._replace(seconds_per_layer=0.0, step_element_s=0.0)
    without_layers_s = decode_seconds(no_cache, 0.0, no_overhead)
    fixed_s = c.seconds_fixed
    return StepTime(
        weights_s=without_layers_s - fixed_s,
        layers_s=without_cache_s - without_layers_s,
        kv_cache_s=total_s - without_cache_s,
        fixed_s=fixed_s,
    )


def prompt_binds(sized: Estimate) -> str | None:
    """Return which limits prefill: "arithmetic" or reading the "weights"; None where no speed is known."""
    known = _model_and_constants(sized)
    if known is None:
        return None
    model, _, c = known
    # twice the arithmetic speed makes it faster only where arithmetic is the limit
    quicker = c._replace(ops_per_s=2 * c.ops_per_s)
    faster = prefill_seconds(model, sized.workload, quicker) < prefill_seconds(model, sized.workload, c)
    return "arithmetic" if faster else "weights"


def _model_and_constants(sized: Estimate) -> tuple[ModelCosts, float, Profile] | None:
    """Return an estimate's model costs, KV-cache bytes per step and constants; None without a speed."""
    if sized.device is None or sized.backend is None or sized.latency is None or sized.shape is None:
        return None
    engine = runtime(sized.runtime)
    executed = engine.as_stored(sized.architecture)
    windowed = engine.windowed_layers(sized.architecture)
    stored = sized.stored_tensors()
    model = stored_costs(executed, stored, windowed)
    model = with_format(model, engine.name, sized.device, sized.backend, sized.format)
    speed = speed_of(sized.device, engine.name, model.bits_per_weight, sized.backend)
    if speed is None:
        return None
    return model, kv_bytes_read(executed, sized.workload, windowed), speed.constants


def at_full_context(sized: Estimate) -> StepTime | None:
    """Return the parts of the step with a full context: the last token, which is the slowest."""
    return step_time(replace(sized, workload=full_context(sized.workload)))
