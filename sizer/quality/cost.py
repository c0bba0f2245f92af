"""What a training takes: FLOPs, hours on a card and energy, over a utilization that somebody measured.

FLOPs of a token: 6 for each weight that takes part in a product (the head too, a table that is only looked up
not), and 12 x layers x hidden size x sequence for attention. Utilization by size from MosaicML's training
benchmarks at 2,048 tokens a sequence; on H100 below 760M weights, where they have no row, A100's times the
ratio of the two at 760M. MobileLLM's 1T tokens on 32 A100 (arXiv 2402.14905: 3 to 18 days) come out 0 to 35 %
above what its authors took.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import log
from typing import Any

from sizer.architecture import Architecture
from sizer.tensors import Access, tensor_specs

SEQUENCE_TOKENS = 2048
_BENCHMARKS = "mosaicml/llm-foundry@061f2c7ce6 scripts/train/benchmarking/README.md, bf16, 2,048 tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCard:
    """A card: dense bf16 FLOPs a second and board power by its data sheet, utilization by weights."""

    name: str
    flops_per_s: float
    watts: float
    utilization_by_weights: tuple[tuple[float, float], ...]
    source: str

    def utilization(self, weights: float) -> float:
        """Return the share of the card's FLOPs that a model of some size uses, between known sizes."""
        sizes = [log(size) for size, _ in self.utilization_by_weights]
        shares = [share for _, share in self.utilization_by_weights]
        at = min(max(log(weights), sizes[0]), sizes[-1])
        upper = min(max(bisect_right(sizes, at), 1), len(sizes) - 1)
        part = (at - sizes[upper - 1]) / (sizes[upper] - sizes[upper - 1])
        return shares[upper - 1] + part * (shares[upper] - shares[upper - 1])


_SIZES = (125e6, 356e6, 760e6, 1.32e9, 2.65e9)
CARDS = (
    TrainingCard(
        name="A100",
        flops_per_s=312e12,
        watts=400,
        utilization_by_weights=(
            (125e6, 0.445),
            (356e6, 0.516),
            (760e6, 0.529),
            (1.32e9, 0.562),
            (2.65e9, 0.578),
        ),
        source=f"NVIDIA A100 SXM 80GB data sheet; {_BENCHMARKS}",
    ),
    TrainingCard(
        name="H100",
        flops_per_s=989e12,
        watts=700,
        utilization_by_weights=(
            (125e6, 0.319),
            (356e6, 0.370),
            (760e6, 0.379),
            (1.32e9, 0.418),
            (2.65e9, 0.437),
        ),
        source=f"NVIDIA H100 SXM data sheet; {_BENCHMARKS}",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCost:
    """A training on one kind of card; hours are of one card, energy that of the card at its board power."""

    card: str
    tokens: float
    flops: float
    utilization: float
    hours: float
    energy_kwh: float
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def flops_per_token(architecture: Architecture) -> float:
    """Return FLOPs of forward and backward pass for a token of a sequence of 2,048."""
    a = architecture
    multiplied = sum(t.num_elements for t in tensor_specs(a) if t.access is Access.MATMUL)
    blocks = sum(t.num_elements for t in tensor_specs(a) if t.layer is not None and t.access is Access.MATMUL)
    run_again = blocks * (a.executed_layers - a.num_layers) / a.num_layers
    attention = 12 * a.executed_layers * a.hidden_size * SEQUENCE_TOKENS
    return float(6 * (multiplied + run_again) + attention)


def training_costs(architecture: Architecture, tokens: float) -> tuple[TrainingCost, ...]:
    """Return what a training of that length takes on each known card."""
    flops = flops_per_token(architecture) * tokens
    weights = sum(t.num_elements for t in tensor_specs(architecture))
    found = []
    for card in CARDS:
        share = card.utilization(weights)
        hours = flops / (card.flops_per_s * share) / 3600
        found.append(
            TrainingCost(
                card=card.name,
                tokens=tokens,
                flops=flops,
                utilization=share,
                hours=hours,
                energy_kwh=hours * card.watts / 1000,
                source=card.source,
            )
        )
    return tuple(found)
