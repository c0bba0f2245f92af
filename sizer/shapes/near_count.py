"""Shapes that are asked for: near a parameter count, or by their fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import log
from typing import Any

from sizer.architecture import Architecture, LayerSharing, SharingStrategy, parse_enum
from sizer.errors import InvalidArchitecture, NoFit
from sizer.tensors import count_parameters, tensor_specs
from sizer.units import format_count

# hidden_size / num_layers. MobileLLM-125M to -1.5B: 19 to 30; GPT-2 small: 64 (their config.json files).
DEEP_AND_THIN = 22.0
SHALLOW_AND_WIDE = 64.0

# Hidden and FFN sizes that a format needs are left only for a count that is this much nearer without them.
_WORTH_ALIGNING = 0.02

# A deviation of 1 % from the asked count weighs as much as an aspect ratio 10 % off.
_DEVIATION_WEIGHT = 10.0


def architecture_near(
    num_parameters: int,
    *,
    vocab_size: int = 32000,
    tie_embeddings: bool = True,
    aspect: float = DEEP_AND_THIN,
    sharing: LayerSharing | None = None,
    multiple: int = 1,
) -> Architecture:
    """Return a Llama-shaped decoder near a number of parameters: SwiGLU, about 3 query heads per KV head.

    A count does not fix a shape: widths are multiples of 32 (64 from 512 up), the feed-forward block is 8/3
    of the width, and `aspect` (hidden_size / num_layers) chooses among what is near. Hidden and FFN size are
    multiples of `multiple`, such as the 256 that k-quants need, where such a shape is within 2 % of the
    count. Deterministic. Raises NoFit when even the smallest decoder with this vocabulary is larger.
    """
    if multiple > 1:
        for aligned in (multiple, multiple // 2):
            found = _near(num_parameters, vocab_size, tie_embeddings, aspect, sharing, aligned)[0]
            if found is not None and abs(_total(found) / num_parameters - 1) <= _WORTH_ALIGNING:
                return replace(found, name=f"near {format_count(num_parameters)}")
    found, smallest = _near(num_parameters, vocab_size, tie_embeddings, aspect, sharing, 1)
    if found is None:
        raise NoFit(
            f"params: {format_count(num_parameters)} is below the smallest decoder with vocab_size "
            f"{vocab_size} ({format_count(smallest)}); ask for more, or a smaller vocabulary"
        )
    return replace(found, name=f"near {format_count(num_parameters)}")


def _near(
    num_parameters: int,
    vocab_size: int,
    tie_embeddings: bool,
    aspect: float,
    sharing: LayerSharing | None,
    multiple: int,
) -> tuple[Architecture | None, int]:
    """Return the best shape with sizes of that multiple, and the count of the smallest such shape."""
    best: tuple[float, Architecture] | None = None
    shared = sharing or LayerSharing()
    smallest, fewest = 0, max(2, shared.fewest_layers)
    for hidden_size in shape_widths():
        if hidden_size % multiple:
            continue
        one = llama_shape(hidden_size, vocab_size, tie_embeddings, multiple)
        base, block = _count_by_depth(one)
        smallest = smallest or base + fewest * block
        if base + fewest * block > num_parameters * 1.5:
            break
        num_layers = max(fewest, round((num_parameters - base) / block))
        if num_layers > hidden_size or not groups_well(one):
            continue
        deviation = (base + num_layers * block) / num_parameters - 1
        score = _DEVIATION_WEIGHT * abs(deviation) + abs(log(hidden_size / num_layers / aspect))
        if best is None or score < best[0]:
            best = (score, replace(one, num_layers=num_layers, sharing=shared))
    return None if best is None else best[1], smallest


def _total(architecture: Architecture) -> int:
    return count_parameters(tensor_specs(architecture)).total


def shape_widths() -> Iterator[int]:
    """Yield the hidden sizes that shapes use: multiples of 32 up to 512, then of 64."""
    yield from range(64, 512, 32)
    yield from range(512, 65536, 64)


def llama_shape(hidden_size: int, vocab_size: int, tie_embeddings: bool, multiple: int = 1) -> Architecture:
    """Return a one-layer Llama-shaped decoder of a hidden size: SwiGLU at 8/3, 3 query heads per KV head."""
    step = max(64, multiple)
    head_dim = 64 if hidden_size % 64 == 0 and hidden_size >= 256 else 32
    heads = hidden_size // head_dim
    return Architecture(
        vocab_size=vocab_size,
        num_layers=1,
        hidden_size=hidden_size,
        intermediate_size=max(step, round(hidden_size * 8 / 3 / step) * step),
        num_heads=heads,
        num_kv_heads=nearest_divisor(heads, heads / 3),
        head_dim=head_dim,
        tie_embeddings=tie_embeddings,
    )


def groups_well(architecture: Architecture) -> bool:
    """Return whether about 3 query heads share a KV head: 13 heads only divide into 1 or 13 groups."""
    per_group = architecture.num_heads / architecture.num_kv_heads
    return architecture.num_heads < 3 or 3 / 2.5 <= per_group <= 3 * 2.5


def nearest_divisor(number: int, target: float) -> int:
    """Return the divisor of a number that is nearest to a target in ratio, the smaller one at a tie."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda d: (abs(log(d / max(target, 1e-9))), d))


def _count_by_depth(one_layer: Architecture) -> tuple[int, int]:
    """Count parameters outside the blocks and of one block, both from the tensor list."""
    specs = tensor_specs(one_layer)
    block = sum(spec.num_elements for spec in specs if spec.layer is not None)
    return sum(spec.num_elements for spec in specs) - block, block


def asked_sharing(strategy: str | None, repeat: int | None, ends: int | None) -> LayerSharing | None:
    """Return the sharing that is asked for by strategy, repeats and unshared ends; None if none is."""
    if strategy is None:
        if repeat is not None and repeat != 1:
            raise InvalidArchitecture(
                f"repeat: {repeat} needs --sharing immediate, repeat-all, reverse or middle"
            )
        if ends:
            raise InvalidArchitecture(f"ends: {ends} needs --sharing middle")
        return None
    kind = parse_enum(SharingStrategy, strategy, "sharing")
    default = 1 if kind is SharingStrategy.NONE else 2
    at_ends = int(kind is SharingStrategy.MIDDLE) if ends is None else ends
    return LayerSharing(strategy=kind, repeat=default if repeat is None else repeat, ends=at_ends)


def shape_near(
    num_parameters: int, given: dict[str, Any], *, wide: bool, multiple: int = 1
) -> tuple[Architecture, tuple[str, ...]]:
    """Return an architecture near a count of parameters, and a note with its shape and the deviation."""
    free = {"vocab_size", "tie_embeddings", "sharing"}
    if fixed := sorted(set(given) - free):
        raise InvalidArchitecture(
            f"params: chooses the shape itself, so {', '.join(fixed)} cannot be given with it; "
            f"accepted: {', '.join(sorted(free))}"
        )
    aspect = SHALLOW_AND_WIDE if wide else DEEP_AND_THIN
    near = architecture_near(num_parameters, aspect=aspect, multiple=multiple, **given)
    aligned = multiple > 64 and near.hidden_size % multiple == 0
    why = f"; sizes are multiples of {multiple}, which the format needs" if aligned else ""
    exact = count_parameters(tensor_specs(near)).total
    note = (
        f"shape: {near.num_layers} layers x {near.hidden_size}, {near.num_heads} query / "
        f"{near.num_kv_heads} KV heads, FFN size {near.intermediate_size}, vocabulary {near.vocab_size}: "
        f"{exact:,} parameters, {exact / num_parameters - 1:+.2%} from {format_count(num_parameters)} "
        f"({'shallow and wide' if wide else 'deep and thin'}{why})"
    )
    return near, (note,)


def shape_by_hand(given: dict[str, Any]) -> Architecture:
    """Return the architecture of the fields that are given, the others as Llama has them."""
    missing = [key for key in ("num_layers", "hidden_size", "num_heads") if key not in given]
    if missing:
        options = ", ".join("--" + key.replace("_", "-") for key in missing)
        raise InvalidArchitecture(
            f"model: nothing to size; give MODEL, --params 125M, --config PATH or a shape (missing {options})"
        )
    width, heads = given["hidden_size"], given["num_heads"]
    if "head_dim" not in given and (heads < 1 or width % heads):
        raise InvalidArchitecture(
            f"head_dim: hidden_size {width} is not a multiple of num_heads {heads}; give --head-dim"
        )
    defaults = {
        "vocab_size": 32000,
        "num_kv_heads": heads,
        "head_dim": width // max(heads, 1),
        "intermediate_size": max(64, round(width * 8 / 3 / 64) * 64),
    }
    return Architecture(**{**defaults, **given})
