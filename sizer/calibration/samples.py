"""Timed models: what each costs on any device, its median timings, and the result of a fit to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from statistics import median

from sizer.architecture import Architecture
from sizer.devices.profile import Profile
from sizer.devices.speed_model import ModelCosts, prefill_seconds, stored_costs
from sizer.formats.stored import StoredTensor
from sizer.memory import kv_bytes_per_token
from sizer.workload import Workload

# Held-out errors of fewer shapes than this do not support a range.
RANGE_SHAPES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedModel:
    """A model to time: what it costs on any device, and the bytes of its cache and file."""

    name: str
    shape: str  # models of one shape are left out together
    costs: ModelCosts
    kv_bytes_per_token: int
    file_bytes: int

    @property
    def step_bytes(self) -> Mapping[str, float]:
        """Return the weight bytes read per decoded token, by stored type."""
        return dict(self.costs.bytes_by_type)

    def prompt_ops(self, prompt_tokens: int, earlier_tokens: int = 0) -> Mapping[str, float]:
        """Return the operations of a prompt by stored type; head and attention count in proportion."""
        weights = dict(self.costs.weights_by_type)
        ops = self.costs.prompt_ops(earlier_tokens + prompt_tokens)
        if earlier_tokens:
            ops -= self.costs.prompt_ops(earlier_tokens)
        share = ops / max(sum(weights.values()), 1)
        return {name: share * count for name, count in weights.items()}


def timed_model(
    name: str,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    *,
    file_bytes: int,
    cache_type: str = "F16",
) -> TimedModel:
    """Return a model as a runtime stores and runs it (every executed layer separately)."""
    unrolled = architecture.unrolled()
    return TimedModel(
        name=name,
        shape=architecture.name,
        costs=stored_costs(unrolled, stored),
        kv_bytes_per_token=kv_bytes_per_token(unrolled, cache_type),
        file_bytes=file_bytes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Median timings of one model, each with its tokens; None where not measured."""

    model: TimedModel
    depth_tokens: float = 0.0  # mean context before a decoded token
    decode_s: float | None = None  # per token
    prompt_tokens: int = 0
    earlier_tokens: int = 0  # read before the prompt, and attended to
    ubatch_tokens: int = 512  # a prompt is read in batches of that many
    prefill_s: float | None = None  # of the whole prompt
    load_s: float | None = None

    @property
    def batches(self) -> int:
        """Return the number of micro-batches of the prompt."""
        return -(-self.prompt_tokens // self.ubatch_tokens)

    @property
    def kv_bytes(self) -> float:
        """Return the KV-cache bytes read per decoded token."""
        return self.depth_tokens * self.model.kv_bytes_per_token

    @property
    def attention_ops(self) -> float:
        """Return the operations of the prompt that multiply tokens with tokens, earlier ones included."""
        costs = self.model.costs
        whole = costs.attention_ops(self.earlier_tokens + self.prompt_tokens)
        return whole - costs.attention_ops(self.earlier_tokens) if self.earlier_tokens else whole

    @property
    def label(self) -> str:
        """Such as "deep-Q8_0 at 128+140"."""
        earlier = f"{self.earlier_tokens}+" if self.earlier_tokens else ""
        return f"{self.model.name} at {earlier}{self.prompt_tokens}+{self.depth_tokens:g}"

    def predicted_prefill_s(self, constants: Profile) -> float:
        """Return the seconds that a device's constants make of the prompt, after the earlier tokens."""
        # in whole micro-batches: the prompt begins a new one
        earlier = self.earlier_tokens - self.earlier_tokens % self.ubatch_tokens
        whole = self._prefill_s(earlier + self.prompt_tokens, constants)
        return whole - self._prefill_s(earlier, constants) if earlier else whole

    def _prefill_s(self, tokens: int, constants: Profile) -> float:
        workload = Workload(
            prompt_tokens=tokens,
            generated_tokens=1,
            context_tokens=tokens + 1,
            ubatch_tokens=self.ubatch_tokens,
        )
        return prefill_seconds(self.model.costs, workload, constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedFit:
    """Constants of a device, and errors (log predicted / measured seconds) without each sample's shape."""

    constants: Profile
    samples: tuple[Sample, ...]
    decode_errors: Mapping[str, float]
    prefill_errors: Mapping[str, float]

    @property
    def shapes(self) -> int:
        """Return the number of different shapes that were timed."""
        return len({s.model.shape for s in self.samples})


def median_error(errors: Iterable[float]) -> float | None:
    """Return the median absolute relative error of speeds from log errors of seconds; None without any."""
    found = [abs(exp(-e) - 1) for e in errors]
    return None if not found else median(found)
