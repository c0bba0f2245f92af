"""Models whose feed-forward blocks are experts, of which each token uses a few: Mixtral's."""

from __future__ import annotations

from dataclasses import replace

from search.config.experts import Experts
from sizer.architecture import Architecture


def with_experts(architecture: Architecture, experts: Experts) -> Architecture:
    """Return the model with its feed-forward width divided among experts; as it is where there is one.

    >>> tiny = Architecture(vocab_size=256, num_layers=2, hidden_size=64, intermediate_size=512, num_heads=2,
    ...     num_kv_heads=1, head_dim=32)
    >>> mixed = with_experts(tiny, Experts(count=4, used=2))
    >>> mixed.num_experts, mixed.num_experts_per_tok, mixed.intermediate_size, mixed.active_mlp_width
    (4, 2, 128, 256)
    """
    if experts.count == 1:
        return architecture
    return replace(
        architecture,
        num_experts=experts.count,
        num_experts_per_tok=experts.used,
        intermediate_size=architecture.intermediate_size // experts.count,
    )


def experts_in(architecture: Architecture) -> Experts:
    """Return the experts of a model."""
    a = architecture
    return Experts(count=a.num_experts, used=a.num_experts_per_tok) if a.num_experts else Experts()
