"""Causal attention of a written-out step: from projected queries, keys and values to what the heads mixed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from search.proxy.fused.calls import CallList
from sizer.architecture import Architecture

# The way back: puts on the list what turns the gradient of the mixed rows into that of the projected.
GradientWay = Callable[[Tensor, Tensor], None]


def project_and_mix(
    calls: CallList,
    a: Architecture,
    seq: int,
    angles: tuple[Tensor, Tensor],
    project: Callable[[Tensor], None],
    mixed: Tensor,
) -> GradientWay:
    """Put attention on the list, in one pass per head where the processor has it.

    `project` puts on the list what fills queries, keys and values `[rows, (heads + 2 kv) * head_dim]`;
    attention fills mixed `[rows, heads * head_dim]`. Rows are batch x seq; angles are cosines and sines
    `[seq, head_dim / 2]`.
    """
    by_heads = hasattr(calls.passes, "attention")
    sizes = (mixed.shape[0], a.q_width + 2 * a.kv_width)
    qkv = calls.buffer(*sizes) if by_heads else calls.scratch("qkv", *sizes)
    project(qkv)
    way = _by_heads if by_heads else _by_products
    return way(calls, a, seq, angles, qkv, mixed)


def _by_heads(
    calls: CallList, a: Architecture, seq: int, angles: tuple[Tensor, Tensor], qkv: Tensor, mixed: Tensor
) -> GradientWay:
    """The passes of attention.c; qkv is read again on the way back."""
    batch, dim = qkv.shape[0] // seq, a.head_dim
    room = calls.passes.attention_room(ctypes.c_long(seq), ctypes.c_long(dim))
    rooms = calls.scratch("rooms", calls.pieces * room, dtype=torch.uint8)
    layout = (batch, seq, a.num_heads, a.num_kv_heads, dim, float(dim**-0.5), *angles, calls.pieces, rooms)
    calls.add_pass("attention", *layout, qkv, mixed)

    def back(dmixed: Tensor, dqkv: Tensor) -> None:
        calls.add_pass("attention_backward", *layout, qkv, dmixed, dqkv)

    return back


def _by_products(
    calls: CallList, a: Architecture, seq: int, angles: tuple[Tensor, Tensor], qkv: Tensor, mixed: Tensor
) -> GradientWay:
    """Torch's batched products with passes between them; qkv is free after."""
    batch, heads, kv, dim = qkv.shape[0] // seq, a.num_heads, a.num_kv_heads, a.head_dim
    # the query heads of a group are stacked along the sequence, so keys and values need no copies
    q = calls.buffer(batch * kv, heads // kv * seq, dim)
    k, v = calls.buffer(batch * kv, seq, dim), calls.buffer(batch * kv, seq, dim)
    scores = calls.buffer(batch * kv, heads // kv * seq, seq)
    by_head = calls.scratch("by_head", *q.shape)
    layout = (batch, seq, heads, kv, dim, float(dim**-0.5), *angles)
    calls.add_pass("split_heads", *layout, qkv, q, k, v)
    calls.product(q, k.transpose(1, 2), scores)
    calls.add_pass("causal_softmax", batch * heads * seq, seq, scores)
    calls.product(scores, v, by_head)
    calls.add_pass("swap_heads", batch, heads, seq, dim, by_head, mixed)

    def back(dmixed: Tensor, dqkv: Tensor) -> None:
        dscores = calls.scratch("dscores", *scores.shape)
        dq, dk, dv = (calls.scratch(name, *x.shape) for name, x in (("dq", q), ("dk", k), ("dv", v)))
        calls.add_pass("swap_heads", batch, seq, heads, dim, dmixed, by_head)
        calls.product(scores.transpose(1, 2), by_head, dv)
        calls.product(by_head, v.transpose(1, 2), dscores)
        calls.add_pass("causal_softmax_backward", batch * heads * seq, seq, scores, dscores)
        calls.product(dscores, k, dq)
        calls.product(dscores.transpose(1, 2), q, dk)
        calls.add_pass("split_heads_backward", *layout, dq, dk, dv, dqkv)

    return back
