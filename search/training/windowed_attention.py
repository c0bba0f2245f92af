"""Attention that looks back on a window, and whose heads have sinks: scores that no position has.

A query sees the last `window` positions, itself included, as llama.cpp and transformers count them
(LLAMA_SWA_TYPE_STANDARD hides a key that is `window` or more positions back). A sink is one more score in a
head's softmax, learned and of no value, so that a query that finds nothing in its window need not take
anything from it (StreamingLLM, arXiv 2309.17453; gpt-oss and Granite learn them).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F


@lru_cache(maxsize=16)
def window_mask(
    seq: int, groups: int, window: int | None, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return 0 for positions that a query sees and minus infinity for others: `[1, groups x seq, seq]`."""
    with torch.inference_mode(False):
        mask = torch.full((seq, seq), -torch.inf, dtype=dtype, device=device)
        hidden = mask.triu(1)
        if window is not None:
            hidden = hidden + mask.tril(-window)
        return hidden.repeat(groups, 1).unsqueeze(0)


def stack_groups(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values of `[batch, seq, heads, dim]` for products of matrices.

    The query heads of a group are stacked along the sequence, so keys and values need no copies:
    `[batch x kv, groups x seq, dim]`, `[batch x kv, dim, seq]`, `[batch x kv, seq, dim]`.
    """
    batch, seq, heads, dim = q.shape
    kv = k.shape[2]
    groups = heads // kv
    q = q.view(batch, seq, kv, groups, dim).permute(0, 2, 3, 1, 4).reshape(batch * kv, groups * seq, dim)
    k = k.permute(0, 2, 3, 1).reshape(batch * kv, dim, seq)
    return q, k, v.permute(0, 2, 1, 3).reshape(batch * kv, seq, dim)


def attend_window(q: Tensor, k: Tensor, v: Tensor, window: int | None, sinks: Tensor | None) -> Tensor:
    """Return causal attention of `[batch, seq, heads, dim]` as `[batch, seq, heads x dim]`.

    `sinks` has a score for each head, `[heads]`.
    """
    batch, seq, heads, dim = q.shape
    kv = k.shape[2]
    groups = heads // kv
    q, k, v = stack_groups(q, k, v)
    scores = torch.baddbmm(window_mask(seq, groups, window, q.dtype, q.device), q, k, alpha=dim**-0.5)
    if sinks is not None:
        sink = sinks.to(q.dtype).view(1, kv, groups, 1).expand(batch, kv, groups, seq)
        scores = torch.cat((scores, sink.reshape(batch * kv, groups * seq, 1)), dim=-1)
    weights = scores.softmax(-1)[..., :seq]
    mixed = torch.bmm(weights, v).view(batch, kv, groups, seq, dim)
    return mixed.permute(0, 3, 1, 2, 4).reshape(batch, seq, heads * dim)


def attend_window_fused(q: Tensor, k: Tensor, v: Tensor, window: int | None, sinks: Tensor | None) -> Tensor:
    """Return the same by torch's fused attention: a sink is the score of a key and a value of zeros."""
    batch, seq, heads, dim = q.shape
    kv = k.shape[2]
    mask = window_mask(seq, 1, window, q.dtype, q.device).unsqueeze(0).expand(1, heads, seq, seq)
    if sinks is not None:
        nothing = k.new_zeros(batch, 1, kv, dim)
        k, v = torch.cat((k, nothing), dim=1), torch.cat((v, nothing), dim=1)
        mask = torch.cat((mask, sinks.to(q.dtype).view(1, heads, 1, 1).expand(1, heads, seq, 1)), dim=-1)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=heads != kv)
    return y.transpose(1, 2).flatten(2)
