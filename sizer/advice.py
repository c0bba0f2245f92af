"""Effect of small changes of shape on the deployed model, and sizes that waste bits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import SizerError
from sizer.model_estimate import Estimate, estimate

# Rows of k-quants and ternary types divide into blocks of this many weights (ggml-common.h, QK_K).
SUPER_BLOCK = 256

# A width is worth a word when an aligned neighbour stores its weights in this share less.
_WORTH_SAYING = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Difference that one change of shape makes; file bytes without the tokenizer."""

    name: str
    parameters: int
    file_bytes: int
    memory_bytes: int
    decode_tokens_per_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


def sensitivities(sized: Estimate) -> tuple[Change, ...]:
    """Return the effect of one more layer, KV head, 64 of hidden or FFN size, 1,024 of vocabulary.

    Exact differences of two estimates, not derivatives: a width that falls back to wider types shows its
    jump. Changes that give no valid shape are left out.
    """
    a = sized.architecture
    changes: dict[str, dict[str, Any]] = {
        "1 layer": {"num_layers": a.num_layers + 1},
        "64 of hidden size": {"hidden_size": a.hidden_size + 64},
        "64 of FFN size": {_mlp_field(a): getattr(a, _mlp_field(a)) + 64},
        "1,024 of vocabulary": {"vocab_size": a.vocab_size + 1024},
    }
    more_kv = [n for n in range(a.num_kv_heads + 1, a.num_heads + 1) if a.num_heads % n == 0]
    if more_kv:
        added = more_kv[0] - a.num_kv_heads
        changes[f"{added} KV heads ({more_kv[0]} in all)"] = {"num_kv_heads": more_kv[0]}
    sized = _in_a_format(sized)
    found = []
    for name, fields in changes.items():
        try:
            changed = _again(sized, replace(a, **fields))
        except SizerError:
            continue
        found.append(_difference(name, sized, changed))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class WastedBits:
    """A size that does not divide into a format's blocks, and the nearest that do, with their bits."""

    field: str
    label: str
    value: int
    better: tuple[tuple[int, float], ...]  # (size, bits per weight of the model with it)


def wasted_bits(sized: Estimate) -> tuple[WastedBits, ...]:
    """Return each size whose nearest multiples of 256 take at least 3 % fewer bits per weight."""
    sized = _in_a_format(sized)
    a = sized.architecture
    found = []
    for field, label in (("hidden_size", "hidden size"), (_mlp_field(a), "FFN size")):
        value: int = getattr(a, field)
        if value % SUPER_BLOCK == 0:
            continue
        better = []
        for aligned in (value // SUPER_BLOCK * SUPER_BLOCK, -(-value // SUPER_BLOCK) * SUPER_BLOCK):
            if aligned:
                changed: dict[str, Any] = {field: aligned}
                again = _again(sized, replace(a, **changed))
                if again.weights is None:  # the runtime does not run the changed shape
                    continue
                bits = again.bits_per_weight
                if bits < sized.bits_per_weight * (1 - _WORTH_SAYING):
                    better.append((aligned, bits))
        if better:
            found.append(WastedBits(field=field, label=label, value=value, better=tuple(better)))
    return tuple(found)


def alignment_advice(sized: Estimate) -> tuple[str, ...]:
    """Return a sentence for each size that does not divide into a format's blocks, and better sizes."""
    now = _in_a_format(sized).bits_per_weight
    advice = []
    for one in wasted_bits(sized):
        better = (f"{size} ({bits:.2f}, {bits / now - 1:.0%})" for size, bits in one.better)
        advice.append(
            f"{one.label} {one.value} is no multiple of {SUPER_BLOCK}, so {sized.format} falls back to wider "
            f"types and takes {now:.2f} bits per weight; at {one.label} {' or '.join(better)}"
        )
    return tuple(advice)


def _mlp_field(architecture: Architecture) -> str:
    """Return the field with the FFN size of most blocks; of experts, of each expert."""
    return "intermediate_size" if architecture.moe_intermediate_size is None else "moe_intermediate_size"


def _in_a_format(sized: Estimate) -> Estimate:
    """Return an estimate whose types are those of a format: a changed shape has no file of its types."""
    return _again(sized, sized.architecture) if sized.weights and sized.weights.own else sized


def _again(sized: Estimate, architecture: Architecture) -> Estimate:
    return estimate(
        architecture=architecture,
        format=sized.named_format,
        runtime=sized.runtime,
        workload=sized.workload,
        device=sized.device,
    )


def _without_tokenizer(sized: Estimate) -> int:
    """Return the file's bytes without the tokenizer: 1,024 more rows would need another, unknown one."""
    return sized.file.total - sized.file.tokenizer_bytes


def _difference(name: str, before: Estimate, after: Estimate) -> Change:
    speeds = [e.latency.decode_tokens_per_s.value for e in (before, after) if e.latency is not None]
    return Change(
        name=name,
        parameters=after.parameters.total - before.parameters.total,
        file_bytes=_without_tokenizer(after) - _without_tokenizer(before),
        memory_bytes=after.memory.total_bytes - before.memory.total_bytes,
        decode_tokens_per_s=speeds[1] - speeds[0] if len(speeds) == 2 else None,
    )
