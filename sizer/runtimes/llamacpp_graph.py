"""llama.cpp's graph for one micro-batch of a model, as sizes for ggml's allocator.

Follows src/llama-graph.cpp, src/llama-kv-cache.cpp and, of src/models, llama, qwen2, qwen3, gemma, gemma2,
gemma3, phi2, phi3, gpt2, gptneox, bloom, falcon, stablelm, olmo and olmo2 as built into llama-cpp-python
0.3.36; nodes are in the order ggml_build_forward_expand visits them. GPT-NeoX is taken to have its attention
and MLP in parallel, as Pythia has.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from operator import index
from typing import NamedTuple

from sizer.architecture import Architecture, BlockNorms, MlpKind, NormKind, PositionKind
from sizer.formats.gguf_layout import gguf_layout, windowed_layers
from sizer.memory import cache_cells, window_cells
from sizer.runtimes.ggml_allocator import Buffer, FreeRanges, Node
from sizer.workload import QUANTIZED_CACHE_TYPES, Workload

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_INT_BYTES = 4
_LONG_BYTES = 8


@lru_cache(maxsize=4096)
def compute_bytes(architecture: Architecture, workload: Workload) -> int:
    """Bytes of the CPU compute buffer that llama.cpp reserves: the graph of a prompt's whole micro-batch."""
    return max(allocation_ends(architecture, workload, architecture.executed_layers))


@lru_cache(maxsize=4096)
def touched_compute_bytes(architecture: Architecture, workload: Workload) -> int:
    """Bytes of that buffer which reading the workload's prompt writes to: logits of one row a sequence."""
    tokens = min(workload.ubatch_tokens, workload.prompt_tokens * workload.batch_size)
    smaller = replace(workload, ubatch_tokens=tokens)
    return max(allocation_ends(architecture, smaller, architecture.executed_layers, workload.batch_size))


def allocation_ends(
    architecture: Architecture, workload: Workload, total: int, outputs: int | None = None
) -> list[int]:
    """Where each allocation for a model of `total` layers ends, in bytes; the buffer must hold the largest.

    Middle layers are alike and the allocator sees nothing but the free ranges, so once these recur at the
    start of a layer, all further layers repeat: a graph of fewer layers that ends at the same place in the
    cycle has the same size. (One cycle is not always one layer.)

    sizer.grid runs this with symbols for sizes, so nothing here may depend on a size but by comparing it.
    """
    # layers with and without a window differ, so all are laid out; a plain number even of a symbol
    layers = index(total if windowed_layers(architecture) else min(total, 3))
    while True:
        ends, ranges = reserve(architecture, workload, layers, outputs)
        if layers == total:
            return ends
        seen = [earlier for earlier in range(layers - 1) if ranges[earlier] == ranges[-1]]
        rest = min((total - layers) % (layers - 1 - earlier) for earlier in seen) if seen else layers
        if not rest:
            return ends
        layers = index(min(total, layers + rest))


def reserve(
    architecture: Architecture, workload: Workload, layers: int, outputs: int | None = None
) -> tuple[list[int], list[FreeRanges]]:
    """Ends of all allocations for a model of so many layers, and the free ranges before each of them.

    `outputs` are the tokens that have logits, by default all of the micro-batch.
    """
    graph = _Graph(architecture, workload, layers, outputs)
    buffer = Buffer()
    ranges = buffer.run(graph.nodes, frozenset(graph.layer_starts))
    return buffer.free.ends, ranges


def knows(a: Architecture) -> bool:
    """Whether llama.cpp's graph of this architecture is the one built here."""
    layout = gguf_layout(a)
    if layout != "llama":
        return layout not in (None, "experts", "lfm2", "openelm")
    if a.sub_norms or a.shared_mlp:
        return False
    if a.norm is NormKind.RMSNORM:
        gemma = not (a.qk_norm or a.qkv_bias or a.attention_output_bias or a.mlp_bias)
        return a.mlp is MlpKind.SWIGLU or (a.mlp is MlpKind.GEGLU and gemma)
    # StableLM and OLMo
    return a.mlp is MlpKind.SWIGLU and not (a.qk_norm or a.attention_output_bias or a.mlp_bias)


class _Cache(NamedTuple):
    """Inputs that the layers of one cache share: rotations, rows to write to, mask; and its cells."""

    cells: int
    k_rotation: int | None
    v_rotation: int | None
    k_rows: int
    v_rows: int
    mask: int


class _Graph:
    """The graph of a model with so many layers, and where in it each layer starts.

    `-b` is taken to be at least `-ub`, so that every token of the micro-batch can have logits.
    """

    def __init__(
        self, architecture: Architecture, workload: Workload, layers: int, outputs: int | None
    ) -> None:
        a, w = architecture, workload
        self.a = a
        self.w = w
        self.layout = gguf_layout(a)
        self.gemma = a.mlp is MlpKind.GEGLU
        self.nodes: list[Node] = []
        self.layer_starts: list[int] = []
        tokens = min(w.ubatch_tokens, w.context_tokens * w.batch_size)
        self.tokens = tokens + -tokens % w.batch_size  # as many for every sequence
        self.outputs = tokens if outputs is None else outputs
        t = self.tokens
        windowed = frozenset(windowed_layers(a))
        self.is_windowed = [layer in windowed for layer in range(layers)]
        # The inputs, in the order the graph reaches them; rows of embeddings, unused, are one of them.
        self.token_ids = self._input(t * _INT_BYTES)
        self._input(t * a.hidden_size * _FLOAT_BYTES)
        self.positions: int | None = None
        if a.position is PositionKind.LEARNED:
            self.positions = self._input(t * _INT_BYTES)
        self.caches: dict[bool, _Cache] = {}
        for is_windowed in dict.fromkeys(self.is_windowed):
            cells = window_cells(a, w) if is_windowed else cache_cells(w)
            self.caches[is_windowed] = self._cache_inputs(cells)
        self.output_ids = self._input(self.outputs * _INT_BYTES)
        self._build(layers)

    def _cache_inputs(self, cells: int) -> _Cache:
        a, w, t = self.a, self.w, self.tokens
        rotated = w.cache_type in QUANTIZED_CACHE_TYPES and a.head_dim % 64 == 0
        k_rotation = self._input(_rotation_width(a.head_dim) ** 2 * _FLOAT_BYTES) if rotated else None
        if self.positions is None and a.position is PositionKind.ROPE:
            self.positions = self._input(t * _INT_BYTES)
        return _Cache(
            cells,
            k_rotation,
            self._input(64 * 64 * _FLOAT_BYTES) if rotated else None,
            self._input(t * _LONG_BYTES),
            # without flash attention values are kept transposed: every element goes to a row of its own
            self._input(t * _LONG_BYTES * (1 if w.flash_attention else a.kv_width)),
            self._input(t * cells * (_HALF_BYTES if w.flash_attention else _FLOAT_BYTES)),
        )

    def _build(self, layers: int) -> None:
        a = self.a
        t = self.tokens * a.hidden_size
        x = self._floats(t, self.token_ids)  # get_rows
        if self.gemma:
            x = self._in_place(x)  # scale
        if a.position is PositionKind.LEARNED:
            x = self._in_place(x, self._floats(t, self.positions or 0))
        if a.embedding_norm:
            x = self._norm(x, t)
        for layer in range(layers):
            self.layer_starts.append(len(self.nodes))
            x = self._block(x, self.caches[self.is_windowed[layer]], last=layer == layers - 1)
        rows = self.outputs
        normed = self._norm(x, rows * a.hidden_size, is_output=True)
        self._floats(rows * a.vocab_size, normed, is_output=True)

    def _block(self, x: int, cache: _Cache, *, last: bool) -> int:
        a, norms = self.a, self.a.block_norms
        rows = self.outputs if last else self.tokens
        normed = x if norms is BlockNorms.POST else self._norm(x, self.tokens * a.hidden_size)
        attended = self._attention(normed, cache)
        if self.layout in ("gptneox", "falcon", "stablelm"):
            return self._parallel_block(x, normed, attended, cache, last=last)
        y = self._attention_output(attended, cache)
        if last:
            y, x = self._rows(y), self._rows(x)
        if norms is BlockNorms.ONE:  # Phi-2
            y = self._in_place(y, self._mlp(self._rows(normed) if last else normed, rows))
            return self._in_place(y, x)
        if norms is not BlockNorms.PRE:
            y = self._norm(y, rows * a.hidden_size)
        x = self._in_place(y, x)
        y = self._mlp(x if norms is BlockNorms.POST else self._norm(x, rows * a.hidden_size), rows)
        if norms is not BlockNorms.PRE:
            y = self._norm(y, rows * a.hidden_size)
        return self._in_place(y, x)

    def _parallel_block(self, x: int, normed: int, attended: int, cache: _Cache, *, last: bool) -> int:
        """Attention and MLP side by side, the MLP first in the graph: GPT-NeoX, Falcon, StableLM."""
        a = self.a
        rows = self.outputs if last else self.tokens
        if self.layout == "gptneox":
            x = self._rows(x) if last else x
            y = self._in_place(self._mlp(self._norm(x, rows * a.hidden_size), rows), x)
            z = self._attention_output(attended, cache)
            return self._in_place(y, self._rows(z) if last else z)
        y = self._mlp(self._rows(normed) if last else normed, rows)
        z = self._attention_output(attended, cache)
        z = self._rows(z) if last else z
        if self.layout == "falcon":
            y = self._in_place(y, z)
            return self._in_place(y, self._rows(x) if last else x)
        return self._in_place(y, self._in_place(z, self._rows(x) if last else x))

    def _rows(self, x: int) -> int:
        """The tokens that logits are asked of."""
        return self._floats(self.outputs * self.a.hidden_size, x, self.output_ids)

    def _attention(self, x: int, cache: _Cache) -> int:
        """Attention up to its output matrix, which the graph reaches later."""
        a, t = self.a, self.tokens
        fused = None
        if a.fused_qkv:
            fused = self._projection(x, a.q_width + 2 * a.kv_width)
        q = self._query_or_key(x, fused, cache, is_query=True)
        if any(self.is_windowed):
            k = self._query_or_key(x, fused, cache, is_query=False)
            v = self._value(x, fused, cache)
        else:
            v = self._value(x, fused, cache)
            k = self._query_or_key(x, fused, cache, is_query=False)
        self._outside(self._view(k), cache.k_rows)  # set_rows into the cache
        if fused is not None and not self.w.flash_attention:
            v = self._floats(t * a.kv_width, v)  # cont
        else:
            v = self._view(v)
        self._outside(v if self.w.flash_attention else self._view(v), cache.v_rows)
        q = self._view(self._view(q))  # view_4d, permute
        if self.w.flash_attention:
            copies = (self._half_copy(cache), self._half_copy(cache)) if self.w.cache_type == "F32" else ()
            return self._view(self._floats(t * a.q_width, q, *copies, cache.mask))
        scores = self._floats(t * a.num_heads * cache.cells, q)
        if self.layout == "gemma2":
            scores = self._in_place(self._in_place(self._in_place(scores)))  # soft cap
        weights = self._floats(t * a.num_heads * cache.cells, scores, cache.mask, in_place=True)
        return self._floats(t * a.q_width, self._view(self._floats(t * a.q_width, weights)))  # cont

    def _attention_output(self, y: int, cache: _Cache) -> int:
        y = self._rotate(y, self.a.q_width, cache.v_rotation)
        return self._biased(self._floats(self.tokens * self.a.hidden_size, y), self.a.attention_output_bias)

    def _projection(self, x: int, width: int) -> int:
        return self._biased(self._floats(self.tokens * width, x), self.a.qkv_bias)

    def _query_or_key(self, x: int, fused: int | None, cache: _Cache, *, is_query: bool) -> int:
        a = self.a
        width = a.q_width if is_query else a.kv_width
        elements = self.tokens * width
        if fused is not None:
            y = self._add(Node(elements * _FLOAT_BYTES, (fused,), view_of=fused))
        else:
            y = self._projection(x, width)
            if a.qk_norm_all_heads:
                y = self._norm(y, elements)
            y = self._view(y)  # reshape to heads
        if a.qk_norm and not a.qk_norm_all_heads:
            y = self._norm(y, elements)
        if a.position is PositionKind.ROPE:
            y = self._floats(elements, y, self.positions or 0, in_place=True)
        if is_query and (self.gemma or self.layout in ("phi2", "phi3")):
            y = self._in_place(y)  # scale
        strided = fused is not None and a.position is not PositionKind.ROPE
        return self._rotate(y, width, cache.k_rotation, strided=strided)

    def _value(self, x: int, fused: int | None, cache: _Cache) -> int:
        width = self.a.kv_width
        if fused is not None:
            v = self._add(Node(self.tokens * width * _FLOAT_BYTES, (fused,), view_of=fused))
        else:
            v = self._view(self._projection(x, width))
        return self._rotate(v, width, cache.v_rotation, strided=fused is not None)

    def _rotate(self, x: int, width: int, rotation: int | None, *, strided: bool = False) -> int:
        """Quantized caches hold keys and values turned by a Hadamard matrix (llama_mul_mat_hadamard)."""
        if rotation is None:
            return x
        rows = self._floats(self.tokens * width, x) if strided else self._view(x)  # cont or reshape
        return self._view(self._floats(self.tokens * width, rotation, rows))

    def _mlp(self, x: int, rows: int) -> int:
        a = self.a
        width = rows * a.intermediate_size
        if a.fused_gate_up:
            y = self._floats(width, self._floats(2 * width, x))
        elif a.mlp.gated:
            gate = self._biased(self._floats(width, x), a.mlp_bias)
            up = self._biased(self._floats(width, x), a.mlp_bias)
            y = self._floats(width, gate, up)
        else:
            y = self._in_place(self._biased(self._floats(width, x), a.mlp_bias))
        return self._biased(self._floats(rows * a.hidden_size, y), a.mlp_bias)

    def _half_copy(self, cache: _Cache) -> int:
        """A layer's cached keys, or values, in the type that flash attention wants."""
        elements = self.a.kv_width * cache.cells * self.w.batch_size
        return self._add(Node(elements * _HALF_BYTES))

    def _norm(self, x: int, elements: int, *, is_output: bool = False) -> int:
        kind = self.a.norm
        if kind is NormKind.NONE:
            return self._floats(elements, x, is_output=is_output)
        y = self._floats(elements, x, in_place=kind is NormKind.RMSNORM)
        if kind is NormKind.LAYERNORM:
            y = self._in_place(y)  # mul, and the bias next
        return self._floats(elements, y, in_place=True, is_output=is_output)

    def _biased(self, x: int, bias: bool) -> int:
        return self._in_place(x) if bias else x

    def _in_place(self, x: int, *others: int) -> int:
        return self._add(Node(self.nodes[x].num_bytes, (x, *others), in_place=True))

    def _input(self, num_bytes: int) -> int:
        return self._add(Node(num_bytes, is_input=True))

    def _floats(self, elements: int, *sources: int, in_place: bool = False, is_output: bool = False) -> int:
        return self._add(Node(elements * _FLOAT_BYTES, sources, in_place=in_place, is_output=is_output))

    def _view(self, x: int) -> int:
        viewed = self.nodes[x].view_of
        return self._add(Node(self.nodes[x].num_bytes, (x,), view_of=x if viewed is None else viewed))

    def _outside(self, *sources: int) -> int:
        return self._add(Node(0, sources))

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1


def _rotation_width(head_dim: int) -> int:
    """Largest power of two times 64 that divides a head (llama_kv_cache::build_input_k_rot)."""
    width = 64
    while head_dim % (2 * width) == 0:
        width *= 2
    return width
