"""The memory ExecuTorch plans for a decoder: activations between its steps, and the KV cache.

`planned_bytes` follows exir/memory_planning.py of ExecuTorch 1.5.1 (`greedy`: largest first, each into the
first buffer where it fits next to what lives at the same time). The steps are those of its Llama
(examples/models/llama) exported for XNNPACK with the custom attention operator, as read from such files.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.formats.executorch import turns_halves

ALIGNMENT_BYTES = 16  # exir/_serialize, constant_tensor_alignment
XNNPACK_PADDING_BYTES = 64  # memory_planning.py: extra_padding where the graph has an XNNPACK delegate

LAYERS_LAID_OUT = 6
SHORT_CHUNK = 32  # tokens

_FLOAT_BYTES = 4
_LONG_BYTES = 8


class Live(NamedTuple):
    """A tensor of the plan: its bytes, and the first and last step that touch it."""

    num_bytes: int
    first: int
    last: int


class _Placed(NamedTuple):
    end: int
    first: int
    last: int


def kv_cache_bytes(architecture: Architecture, context_tokens: int) -> int:
    """Return bytes of the static KV cache: keys and values of every executed layer, for the whole context."""
    return 2 * architecture.executed_layers * _cache_bytes(architecture, context_tokens)


def _cache_bytes(architecture: Architecture, context_tokens: int) -> int:
    return _FLOAT_BYTES * context_tokens * architecture.kv_width


@lru_cache(maxsize=4096)
def planned_bytes(architecture: Architecture, prompt_tokens: int, context_tokens: int) -> int:
    """Return bytes of the buffer ExecuTorch plans: activations of the longest prompt chunk, and the KV cache.

    A cache is there at every step, so it never shares a buffer. Layers are alike otherwise, and more than a
    few find no buffer missing (tested); only where a chunk is hardly larger than a position are all laid out.
    """
    a = architecture
    caches = 2 * a.executed_layers * aligned(_cache_bytes(a, context_tokens))
    if turns_halves(a):  # every layer has a copy of the tables, made before the first one
        tensors = activations_of_halves(a, prompt_tokens)
    else:
        all_differ = prompt_tokens < SHORT_CHUNK
        tensors = activations(
            a, prompt_tokens, a.executed_layers if all_differ else min(a.executed_layers, LAYERS_LAID_OUT)
        )
    return caches + greedy_bytes(tensors) + XNNPACK_PADDING_BYTES


def greedy_bytes(tensors: list[Live]) -> int:
    """Return bytes of the buffers that hold these tensors, as ExecuTorch's greedy planner lays them out."""
    sizes: list[int] = []
    contents: list[list[_Placed]] = []
    for tensor in sorted(reversed(tensors), key=lambda t: -aligned(t.num_bytes)):
        size = aligned(tensor.num_bytes)
        starts = [
            max((p.end for p in held if p.first <= tensor.last and tensor.first <= p.last), default=0)
            for held in contents
        ]
        at = next((i for i, start in enumerate(starts) if start == 0), None)
        if at is None:
            at = next((i for i, start in enumerate(starts) if start + size <= sizes[i]), None)
        if at is None:
            at = len(sizes)
            sizes.append(size)
            contents.append([])
            starts.append(0)
        contents[at].append(_Placed(starts[at] + size, tensor.first, tensor.last))
    return sum(sizes)


def aligned(num_bytes: int) -> int:
    """Return the bytes rounded up to the alignment of planned tensors."""
    return num_bytes + -num_bytes % ALIGNMENT_BYTES


def activations(a: Architecture, prompt_tokens: int, layers: int) -> list[Live]:
    """Return every tensor between the steps of one call but caches, views counted with what they look at."""
    s = max(1, prompt_tokens - 1)  # the export's upper bound of the dynamic dimension
    residual, query, key = (_FLOAT_BYTES * s * width for width in (a.hidden_size, a.q_width, a.kv_width))
    wide, one, table = (_FLOAT_BYTES * s * width for width in (a.intermediate_size, 1, a.head_dim // 2))
    start, per_layer = 14, 30
    last_rope = start + per_layer * (layers - 1) + 14
    # the position, five times; sines and cosines of the positions in use
    tensors = [Live(_LONG_BYTES, first, first + 6) for first in range(2, 7)]
    tensors += [Live(table, 12, last_rope), Live(table, 13, last_rope)]
    tensors += [Live(residual, 1, start + 21), Live(residual, 7, start)]
    for layer in range(layers):
        t = start + per_layer * layer
        tensors += [
            Live(one, t, t + 1),  # mean of squares
            Live(residual, t + 1, t + 2),  # normalised
            Live(query, t + 2, t + 7),
            Live(key, t + 2, t + 9),
            Live(key, t + 2, t + 5),
            Live(_FLOAT_BYTES, t + 5, t + 5),  # update_cache's own result, unused
            Live(query // 2, t + 6, t + 10),  # even and odd positions of queries and keys, then squeezed
            Live(query // 2, t + 7, t + 11),
            Live(key // 2, t + 8, t + 12),
            Live(key // 2, t + 9, t + 13),
            Live(query // 2, t + 10, t + 14),
            Live(query // 2, t + 11, t + 14),
            Live(key // 2, t + 12, t + 14),
            Live(key // 2, t + 13, t + 14),
            Live(query, t + 14, t + 18),  # turned by their positions
            Live(key, t + 14, t + 17),
            Live(_FLOAT_BYTES, t + 17, t + 17),
            Live(query, t + 18, t + 20),  # attention's result
            Live(residual, t + 20, t + 21),
            Live(residual, t + 21, t + 27),  # the residual stream after attention
            Live(residual, t + 21, t + 22),  # its squares
            Live(one, t + 22, t + 23),
            Live(residual, t + 23, t + 24),
            Live(wide, t + 24, t + 25),
            Live(wide, t + 24, t + 25),
            Live(wide, t + 25, t + 26),
            Live(residual, t + 26, t + 27),
        ]
        if layer < layers - 1:
            tensors += [Live(residual, t + 27, t + per_layer + 21), Live(residual, t + 27, t + per_layer)]
    t = start + per_layer * layers
    width = _FLOAT_BYTES * a.hidden_size
    tensors += [
        Live(residual, t - 3, t - 2),
        Live(width, t - 2, t + 1),  # the last token's
        Live(width, t - 1, t),
        Live(_FLOAT_BYTES, t, t + 1),
        Live(width, t + 1, t + 2),
        Live(_FLOAT_BYTES * a.vocab_size, t + 2, t + 2),
    ]
    return tensors


def activations_of_halves(a: Architecture, prompt_tokens: int) -> list[Live]:
    """Return every tensor between the steps of one call, where positions turn the halves of a head.

    Queries and keys may be normed for each head (Qwen 3) or have biases (Qwen 2.5).
    """
    s, layers = max(1, prompt_tokens - 1), a.executed_layers
    residual, query, key = (_FLOAT_BYTES * s * width for width in (a.hidden_size, a.q_width, a.kv_width))
    wide, one, table = (_FLOAT_BYTES * s * width for width in (a.intermediate_size, 1, a.head_dim))
    turn = 16 if a.qk_norm else 12  # of a layer's steps the one that turns queries and keys
    add, per_layer = turn + 7, turn + 15
    starts = [17 + 2 * layers + per_layer * layer for layer in range(layers)]
    tensors = [
        Live(residual, 1, starts[0] + add),
        *(Live(_LONG_BYTES, first, last) for first, last in ((2, 8), (3, 10), (4, 11), (5, 12), (6, 13))),
        Live(residual, 7, 16),
        Live(table, 14, 16 + layers),  # cosines and sines of the positions in use, then for each layer
        Live(table, 15, 16 + 2 * layers),
        Live(one, 16, starts[0]),
        *(Live(table, 17 + layer, start + turn) for layer, start in enumerate(starts)),
        *(Live(table, 17 + layers + layer, start + turn) for layer, start in enumerate(starts)),
    ]
    for layer, t in enumerate(starts):
        tensors += [Live(residual, t, t + 1), *_projected(a, t, query, key, s)]
        u = t + turn
        tensors += [
            Live(query, u - 6 - (not a.qk_norm), u),  # copies of queries and keys, and their halves
            Live(key, u - 5 - (not a.qk_norm), u),
            Live(query // 2, u - 4, u),
            Live(query // 2, u - 3, u),
            Live(key // 2, u - 2, u),
            Live(key // 2, u - 1, u),
            Live(query, u, u + 1),
            Live(key, u, u + 2),
            Live(query, u + 1, u + 4),
            Live(key, u + 2, u + 3),
            Live(_FLOAT_BYTES, u + 3, u + 3),  # update_cache's own result, unused
            Live(query, u + 4, u + 6),  # attention's result
            Live(residual, u + 6, u + 7),
            Live(residual, u + 7, u + 13),  # the residual stream after attention
            Live(residual, u + 7, u + 8),  # its squares
            Live(one, u + 8, u + 9),
            Live(residual, u + 9, u + 10),
            Live(wide, u + 10, u + 11),
            Live(wide, u + 10, u + 11),
            Live(wide, u + 11, u + 12),
            Live(residual, u + 12, u + 13),
        ]
        if layer < layers - 1:
            tensors += [
                Live(residual, u + 13, t + per_layer + add),
                Live(residual, u + 13, u + 14),
                Live(one, u + 14, u + 15),
            ]
    t = starts[-1] + add + 6
    width = _FLOAT_BYTES * a.hidden_size
    tensors += [
        Live(residual, t, t + 1),
        Live(width, t + 1, t + 4),  # the last token's
        Live(width, t + 2, t + 3),
        Live(_FLOAT_BYTES, t + 3, t + 4),
        Live(width, t + 4, t + 5),
        Live(_FLOAT_BYTES * a.vocab_size, t + 5, t + 5),
    ]
    return tensors


def _projected(a: Architecture, t: int, query: int, key: int, tokens: int) -> list[Live]:
    """Return queries, keys and values as projected, and what norms of queries and keys take."""
    if not a.qk_norm:
        return [
            Live(query, t + 1, t + 5),
            Live(key, t + 1, t + 6),
            Live(key, t + 1, t + 7),
            Live(_FLOAT_BYTES, t + 7, t + 7),  # update_cache's own result, unused
        ]
    return [
        Live(query, t + 1, t + 9),
        Live(key, t + 1, t + 9),
        Live(key, t + 1, t + 6),
        Live(query, t + 5, t + 7),  # squares
        Live(key, t + 5, t + 8),
        Live(_FLOAT_BYTES, t + 6, t + 6),
        Live(_FLOAT_BYTES * tokens * a.num_heads, t + 7, t + 9),  # their means
        Live(_FLOAT_BYTES * tokens * a.num_kv_heads, t + 8, t + 9),
        Live(query, t + 9, t + 10),  # normed
        Live(key, t + 9, t + 11),
    ]
