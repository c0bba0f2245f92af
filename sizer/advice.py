"""What a small change of shape would do to the deployed model, and which widths waste bits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import SizerError
from sizer.estimate import Estimate, estimate

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
        """Fields as plain JSON values."""
        return asdict(self)


def sensitivities(sized: Estimate) -> tuple[Change, ...]:
    """What one layer, 64 of width, 64 of MLP width, 1,024 of vocabulary and one KV head more would do.

    Exact differences of two estimates, not derivatives: a width that falls back to wider types shows its
    jump. Changes that give no valid shape are left out.
    """
    a = sized.architecture
    changes: dict[str, dict[str, Any]] = {
        "1 layer": {"num_layers": a.num_layers + 1},
        "64 of width": {"hidden_size": a.hidden_size + 64},
        "64 of MLP width": {_mlp_field(a): getattr(a, _mlp_field(a)) + 64},
        "1,024 of vocabulary": {"vocab_size": a.vocab_size + 1024},
    }
    more_kv = [n for n in range(a.num_kv_heads + 1, a.num_heads + 1) if a.num_heads % n == 0]
    if more_kv:
        added = more_kv[0] - a.num_kv_heads
        changes[f"{added} KV heads ({more_kv[0]} in all)"] = {"num_kv_heads": more_kv[0]}
    found = []
    for name, fields in changes.items():
        try:
            changed = _again(sized, replace(a, **fields))
        except SizerError:
            continue
        found.append(_difference(name, sized, changed))
    return tuple(found)


def alignment_advice(sized: Estimate) -> tuple[str, ...]:
    """Sentences on widths that do not divide into a format's blocks, and what the nearest that do take."""
    a = sized.architecture
    advice = []
    for field, label in (("hidden_size", "width"), (_mlp_field(a), "MLP width")):
        value: int = getattr(a, field)
        if value % SUPER_BLOCK == 0:
            continue
        better = []
        for aligned in (value // SUPER_BLOCK * SUPER_BLOCK, -(-value // SUPER_BLOCK) * SUPER_BLOCK):
            if aligned:
                changed: dict[str, Any] = {field: aligned}
                bits = _again(sized, replace(a, **changed)).bits_per_weight
                if bits < sized.bits_per_weight * (1 - _WORTH_SAYING):
                    better.append(f"{aligned} ({bits:.2f}, {bits / sized.bits_per_weight - 1:.0%})")
        if better:
            advice.append(
                f"{label} {value} is no multiple of {SUPER_BLOCK}, so {sized.format} falls back to wider "
                f"types and takes {sized.bits_per_weight:.2f} bits per weight; at {label} "
                f"{' or '.join(better)}"
            )
    return tuple(advice)


def _mlp_field(architecture: Architecture) -> str:
    """Field that says how wide most feed-forward blocks are; of experts, each of them."""
    return "intermediate_size" if architecture.moe_intermediate_size is None else "moe_intermediate_size"


def _again(sized: Estimate, architecture: Architecture) -> Estimate:
    return estimate(
        architecture=architecture,
        format=sized.format,
        runtime=sized.runtime,
        workload=sized.workload,
        device=sized.device,
    )


def _without_tokenizer(sized: Estimate) -> int:
    """File bytes but the tokenizer's: 1,024 rows more would else be another, unknown tokenizer."""
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
