"""Hypothesis strategies: random valid architectures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from sizer.architecture import Architecture, BlockNorms, LayerSharing, MlpKind, NormKind, SharingStrategy

_OF_ALL = (SharingStrategy.IMMEDIATE, SharingStrategy.REPEAT_ALL, SharingStrategy.REVERSE)


def sharings(num_layers: int) -> st.SearchStrategy[LayerSharing]:
    """Ways of sharing that so many stored layers have room for."""
    found = [
        st.just(LayerSharing()),
        st.builds(LayerSharing, strategy=st.sampled_from(_OF_ALL), repeat=st.integers(2, 4)),
    ]
    if num_layers > 2:
        middle, ends = st.just(SharingStrategy.MIDDLE), st.integers(1, (num_layers - 1) // 2)
        found.append(st.builds(LayerSharing, strategy=middle, repeat=st.integers(2, 4), ends=ends))
    return st.one_of(found)


@st.composite
def architectures(draw: st.DrawFn, *, max_layers: int = 12) -> Architecture:
    """A valid decoder of any kind, small enough to be listed quickly."""
    kv_heads = draw(st.integers(1, 6))
    heads = kv_heads * draw(st.integers(1, 6))
    num_layers = draw(st.integers(1, max_layers))
    return Architecture(
        vocab_size=draw(st.integers(1, 70_000)),
        num_layers=num_layers,
        hidden_size=draw(st.integers(1, 64)) * 32,
        intermediate_size=draw(st.integers(1, 200)) * 32,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=draw(st.sampled_from([32, 40, 64, 80, 96, 128])),
        mlp=draw(st.sampled_from(MlpKind)),
        norm=draw(st.sampled_from(NormKind)),
        tie_embeddings=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
        qkv_bias=draw(st.booleans()),
        attention_output_bias=draw(st.booleans()),
        mlp_bias=draw(st.booleans()),
        sub_norms=draw(st.booleans()),
        shared_mlp=draw(st.booleans()),
        sharing=draw(sharings(num_layers)),
    )


def as_llama(architecture: Architecture) -> Architecture:
    """The same sizes with Llama's blocks, for what is known of no other shape."""
    flags = ("qk_norm", "qkv_bias", "attention_output_bias", "mlp_bias", "sub_norms", "shared_mlp")
    off: dict[str, Any] = dict.fromkeys(flags, False)
    return replace(architecture, mlp=MlpKind.SWIGLU, norm=NormKind.RMSNORM, **off)


@st.composite
def any_architectures(draw: st.DrawFn, *, max_layers: int = 6) -> Architecture:
    """A valid model of any family: Llama-shaped, or with fields beyond it."""
    base = draw(architectures(max_layers=max_layers))
    fused_gate_up = draw(st.booleans())
    experts: dict[str, Any] = {}
    if base.mlp.gated and not (base.mlp_bias or base.sub_norms or base.shared_mlp or fused_gate_up):
        experts = draw(_experts())
    return replace(
        base,
        **experts,
        block_norms=draw(st.sampled_from(BlockNorms)),
        final_norm=draw(st.booleans()),
        embedding_norm=draw(st.booleans()),
        embedding_size=draw(st.sampled_from([None, 32, 64])),
        position_offset=draw(st.integers(0, 2)),
        head_bias=draw(st.booleans()),
        fused_qkv=draw(st.booleans()),
        fused_gate_up=fused_gate_up,
        qk_norm_all_heads=draw(st.booleans()),
        qk_norm_each_head=draw(st.booleans()),
    )


@st.composite
def _experts(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a mixture of experts, or none of them."""
    if draw(st.booleans()):
        return {}
    experts = draw(st.integers(1, 9))
    return {
        "num_experts": experts,
        "num_experts_per_tok": draw(st.integers(1, experts)),
        "moe_intermediate_size": draw(st.sampled_from([None, 32, 96])),
        "shared_expert_intermediate_size": draw(st.sampled_from([0, 64])),
        "shared_expert_gate": draw(st.booleans()),
    }
