"""From a budget to a shape: the architecture near a parameter count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import log

from sizer.architecture import Architecture, LayerSharing
from sizer.errors import NoFit
from sizer.tensors import tensor_specs
from sizer.units import format_count

# hidden_size / num_layers. MobileLLM-125M to -1.5B: 19 to 30; GPT-2 small: 64 (their config.json files).
DEEP_AND_THIN = 22.0
SHALLOW_AND_WIDE = 64.0

# A deviation of 1 % from the asked count weighs as much as an aspect ratio 10 % off.
_DEVIATION_WEIGHT = 10.0


def architecture_near(
    num_parameters: int,
    *,
    vocab_size: int = 32000,
    tie_embeddings: bool = True,
    aspect: float = DEEP_AND_THIN,
    sharing: LayerSharing | None = None,
) -> Architecture:
    """Llama-shaped decoder near a number of parameters: SwiGLU, about 3 query heads per KV head.

    A count does not fix a shape: widths are multiples of 32 (64 from 512 up), the feed-forward block is 8/3
    of the width, and `aspect` (hidden_size / num_layers) chooses among what is near. Deterministic. Raises
    NoFit when even the smallest decoder with this vocabulary is larger.
    """
    best: tuple[float, Architecture] | None = None
    smallest = 0
    for hidden_size in shape_widths():
        one = llama_shape(hidden_size, vocab_size, tie_embeddings)
        base, block = _count_by_depth(one)
        smallest = smallest or base + 2 * block
        if base + 2 * block > num_parameters * 1.5:
            break
        num_layers = max(2, round((num_parameters - base) / block))
        if num_layers > hidden_size or not groups_well(one):
            continue
        deviation = (base + num_layers * block) / num_parameters - 1
        score = _DEVIATION_WEIGHT * abs(deviation) + abs(log(hidden_size / num_layers / aspect))
        if best is None or score < best[0]:
            best = (score, replace(one, num_layers=num_layers, sharing=sharing or LayerSharing()))
    if best is None:
        raise NoFit(
            f"params: {format_count(num_parameters)} is below the smallest decoder with vocab_size "
            f"{vocab_size} ({format_count(smallest)}); ask for more or give a smaller --vocab-size"
        )
    return replace(best[1], name=f"near {format_count(num_parameters)}")


def shape_widths() -> Iterator[int]:
    """Widths that shapes are made of: multiples of 32 up to 512, then of 64."""
    yield from range(64, 512, 32)
    yield from range(512, 65536, 64)


def llama_shape(hidden_size: int, vocab_size: int, tie_embeddings: bool) -> Architecture:
    """One-layer Llama-shaped decoder of a width: SwiGLU at 8/3, about 3 query heads per KV head."""
    head_dim = 64 if hidden_size % 64 == 0 and hidden_size >= 256 else 32
    heads = hidden_size // head_dim
    return Architecture(
        vocab_size=vocab_size,
        num_layers=1,
        hidden_size=hidden_size,
        intermediate_size=max(64, round(hidden_size * 8 / 3 / 64) * 64),
        num_heads=heads,
        num_kv_heads=nearest_divisor(heads, heads / 3),
        head_dim=head_dim,
        tie_embeddings=tie_embeddings,
    )


def groups_well(architecture: Architecture) -> bool:
    """Whether about 3 query heads share a KV head: 13 heads, say, only divide into 1 or 13 groups."""
    per_group = architecture.num_heads / architecture.num_kv_heads
    return architecture.num_heads < 3 or 3 / 2.5 <= per_group <= 3 * 2.5


def nearest_divisor(number: int, target: float) -> int:
    """Divisor of a number that is nearest to a target in ratio, the smaller one at a tie."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda d: (abs(log(d / max(target, 1e-9))), d))


def _count_by_depth(one_layer: Architecture) -> tuple[int, int]:
    """Parameters outside the blocks, and parameters of one block, both from the tensor list."""
    specs = tensor_specs(one_layer)
    block = sum(spec.num_elements for spec in specs if spec.layer is not None)
    return sum(spec.num_elements for spec in specs) - block, block
