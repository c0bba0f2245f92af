"""Causal attention of the fused step: from projected queries, keys and values to the heads' outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from search.training.fused.calls import CallList
from sizer.architecture import Architecture

# Adds to the list the calls that compute the gradient of the projections (second) from that of `mixed`.
AttentionBackward = Callable[[Tensor, Tensor], None]


def project_and_mix(
    calls: CallList,
    a: Architecture,
    seq: int,
    angles: tuple[Tensor, Tensor],
    project: Callable[[Tensor], None],
    mixed: Tensor,
) -> AttentionBackward:
    """Add attention to the list, by the AVX-512 kernel where the processor has it.

    `project` adds the call that fills queries, keys and values `[rows, (heads + 2 kv) * head_dim]`;
    attention fills `mixed` `[rows, heads * head_dim]`. Rows are batch x seq; angles are cosines and sines
    `[seq, head_dim / 2]`.
    """
    by_heads = hasattr(calls.kernels, "attention")
    sizes = (mixed.shape[0], a.q_width + 2 * a.kv_width)
    qkv = calls.buffer(*sizes) if by_heads else calls.scratch("qkv", *sizes)
    project(qkv)
    attend = _by_heads if by_heads else _by_products
    return attend(calls, a, seq, angles, qkv, mixed)


def _by_heads(
    calls: CallList, a: Architecture, seq: int, angles: tuple[Tensor, Tensor], qkv: Tensor, mixed: Tensor
) -> AttentionBackward:
    """Use avx512/attention.c, whose backward pass reads qkv again."""
    batch, dim = qkv.shape[0] // seq, a.head_dim
    size = calls.num_partitions * calls.kernels.attention_workspace(seq, dim)
    workspaces = calls.scratch("attention", size, dtype=torch.uint8)
    sizes = (batch, seq, a.num_heads, a.num_kv_heads, dim, float(dim**-0.5))
    layout = (*sizes, *angles, calls.num_partitions, workspaces)
    calls.add_kernel("attention", *layout, qkv, mixed)

    def backward(dmixed: Tensor, dqkv: Tensor) -> None:
        calls.add_kernel("attention_backward", *layout, qkv, dmixed, dqkv)

    return backward


def _by_products(
    calls: CallList, a: Architecture, seq: int, angles: tuple[Tensor, Tensor], qkv: Tensor, mixed: Tensor
) -> AttentionBackward:
    """Use torch's batched products with kernels between them; qkv may be overwritten afterwards."""
    batch, heads, kv, dim = qkv.shape[0] // seq, a.num_heads, a.num_kv_heads, a.head_dim
    # the query heads of a group are stacked along the sequence, so keys and values need no copies
    q = calls.buffer(batch * kv, heads // kv * seq, dim)
    k, v = calls.buffer(batch * kv, seq, dim), calls.buffer(batch * kv, seq, dim)
    scores = calls.buffer(batch * kv, heads // kv * seq, seq)
    by_head = calls.scratch("by_head", *q.shape)
    layout = (batch, seq, heads, kv, dim, float(dim**-0.5), *angles)
    calls.add_kernel("split_heads", *layout, qkv, q, k, v)
    calls.product(q, k.transpose(1, 2), scores)
    calls.add_kernel("causal_softmax", batch * heads * seq, seq, scores)
    calls.product(scores, v, by_head)
    calls.add_kernel("swap_heads", batch, heads, seq, dim, by_head, mixed)

    def backward(dmixed: Tensor, dqkv: Tensor) -> None:
        dscores = calls.scratch("dscores", *scores.shape)
        dq, dk, dv = (calls.scratch(name, *x.shape) for name, x in (("dq", q), ("dk", k), ("dv", v)))
        calls.add_kernel("swap_heads", batch, seq, heads, dim, dmixed, by_head)
        calls.product(scores.transpose(1, 2), by_head, dv)
        calls.product(by_head, v.transpose(1, 2), dscores)
        calls.add_kernel("causal_softmax_backward", batch * heads * seq, seq, scores, dscores)
        calls.product(dscores, k, dq)
        calls.product(dscores.transpose(1, 2), q, dk)
        calls.add_kernel("split_heads_backward", *layout, dq, dk, dv, dqkv)

    return backward
