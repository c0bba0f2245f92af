"""What the time of a decoding step and of a prompt goes into, and which part of it binds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sizer.latency import decode_seconds, kv_bytes_read, prefill_seconds, speed_of, work
from sizer.runtimes import runtime

if TYPE_CHECKING:
    from sizer.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of one decoding step by what takes them; they sum to 1 / decode tokens per second."""

    weights_s: float  # reading the weights
    layers_s: float  # what every executed layer costs, however small
    kv_cache_s: float  # reading keys and values
    fixed_s: float  # what every step costs

    @property
    def total_s(self) -> float:
        """Seconds of the whole step."""
        return self.weights_s + self.layers_s + self.kv_cache_s + self.fixed_s

    @property
    def binds(self) -> str:
        """The part that takes the most: "weights", "layers", "kv_cache" or "fixed"."""
        parts: dict[str, float] = asdict(self)
        return max(parts, key=lambda name: parts[name]).removesuffix("_s")

    def to_dict(self) -> dict[str, Any]:
        """Parts and what binds as plain JSON values."""
        return {**asdict(self), "binds": self.binds}


def step_time(sized: Estimate) -> StepTime | None:
    """A decoding step of an estimate, taken apart; None where no speed is known.

    Each part is the difference that leaving it out makes to `sizer.latency.decode_seconds`.
    """
    if sized.device is None:
        return None
    engine = runtime(sized.runtime)
    executed = engine.as_stored(sized.architecture)
    windowed = engine.windowed_layers(sized.architecture)
    stored = engine.store(sized.architecture, sized.format)
    model = work(executed, ((t.spec, t.num_bytes, t.type.name) for t in stored), windowed)
    speed = speed_of(sized.device, engine.name, model.bits_per_weight)
    if speed is None:
        return None
    c = speed.constants
    kv_bytes = kv_bytes_read(executed, sized.workload, windowed)
    total_s = decode_seconds(model, kv_bytes, c)
    no_cache = model._replace(kv_elements=0)
    without_cache_s = decode_seconds(no_cache, 0.0, c)
    without_layers_s = decode_seconds(no_cache, 0.0, c._replace(seconds_per_layer=0.0))
    fixed_s = c.seconds_fixed
    return StepTime(
        weights_s=without_layers_s - fixed_s,
        layers_s=without_cache_s - without_layers_s,
        kv_cache_s=total_s - without_cache_s,
        fixed_s=fixed_s,
    )


def prompt_binds(sized: Estimate) -> str | None:
    """Whether the prompt waits for "arithmetic" or for the "weights" to be read; None where not known."""
    if sized.device is None:
        return None
    engine = runtime(sized.runtime)
    executed = engine.as_stored(sized.architecture)
    stored = engine.store(sized.architecture, sized.format)
    windowed = engine.windowed_layers(sized.architecture)
    model = work(executed, ((t.spec, t.num_bytes, t.type.name) for t in stored), windowed)
    speed = speed_of(sized.device, engine.name, model.bits_per_weight)
    if speed is None:
        return None
    whole_s = prefill_seconds(model, sized.workload, speed.constants)
    # with twice the arithmetic speed it is faster only where the arithmetic was waited for
    quicker = speed.constants._replace(ops_per_s=2 * speed.constants.ops_per_s)
    return "arithmetic" if prefill_seconds(model, sized.workload, quicker) < whole_s else "weights"


def at_full_context(sized: Estimate) -> StepTime | None:
    """The step that a full context makes the slowest: its last token."""
    w = sized.workload
    last = replace(w, prompt_tokens=max(1, w.context_tokens - 1), generated_tokens=1)
    if w.context_tokens < 2:
        return step_time(sized)
    return step_time(replace(sized, workload=last))
