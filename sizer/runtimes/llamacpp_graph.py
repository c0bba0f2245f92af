"""llama.cpp's graph for one micro-batch of a llama, qwen2 or qwen3 model, as sizes for ggml's allocator.

Follows src/llama-graph.cpp, src/llama-kv-cache.cpp and src/models/{llama,qwen2,qwen3}.cpp as built into
llama-cpp-python 0.3.36; nodes are in the order ggml_build_forward_expand visits them.
"""

from __future__ import annotations

from functools import lru_cache
from operator import index

from sizer.architecture import Architecture, MlpKind, NormKind, PositionKind
from sizer.memory import cache_cells
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


def allocation_ends(architecture: Architecture, workload: Workload, total: int) -> list[int]:
    """Where each allocation for a model of `total` layers ends, in bytes; the buffer must hold the largest.

    Middle layers are alike and the allocator sees nothing but the free ranges, so once these recur at the
    start of a layer, all further layers repeat: a graph of fewer layers that ends at the same place in the
    cycle has the same size. (One cycle is not always one layer.)

    sizer.grid runs this with symbols for sizes, so nothing here may depend on a size but by comparing it.
    """
    layers = index(min(total, 3))  # a plain number even where the total is a symbol
    while True:
        ends, ranges = reserve(architecture, workload, layers)
        if layers == total:
            return ends
        seen = [earlier for earlier in range(layers - 1) if ranges[earlier] == ranges[-1]]
        rest = min((total - layers) % (layers - 1 - earlier) for earlier in seen) if seen else layers
        if not rest:
            return ends
        layers = index(min(total, layers + rest))


def reserve(
    architecture: Architecture, workload: Workload, layers: int
) -> tuple[list[int], list[FreeRanges]]:
    """Ends of all allocations for a model of so many layers, and the free ranges before each of them."""
    graph = _Graph(architecture, workload, layers)
    buffer = Buffer()
    ranges = buffer.run(graph.nodes, frozenset(graph.layer_starts))
    return buffer.free.ends, ranges


def knows(a: Architecture) -> bool:
    """Whether llama.cpp's graph of this architecture is the one built here."""
    return (
        a.mlp is MlpKind.SWIGLU
        and a.norm is NormKind.RMSNORM
        and a.position is PositionKind.ROPE
        and not (a.sub_norms or a.shared_mlp or a.beyond_llama)
    )


class _Graph:
    """The graph of a model with so many layers, and where in it each layer starts.

    `-b` is taken to be at least `-ub`, so that every token of the micro-batch can have logits.
    """

    def __init__(self, architecture: Architecture, workload: Workload, layers: int) -> None:
        a, w = architecture, workload
        self.a = a
        self.w = w
        self.nodes: list[Node] = []
        self.layer_starts: list[int] = []
        self.cells = cache_cells(w)
        tokens = min(w.ubatch_tokens, w.context_tokens * w.batch_size)
        self.tokens = tokens + -tokens % w.batch_size  # as many for every sequence
        self.outputs = tokens
        t = self.tokens
        # The inputs, in the order the graph reaches them; rows of embeddings, unused, are one of them.
        self.token_ids = self._input(t * _INT_BYTES)
        self._input(t * a.hidden_size * _FLOAT_BYTES)
        rotated = w.cache_type in QUANTIZED_CACHE_TYPES and a.head_dim % 64 == 0
        self.k_rotation = self._input(_rotation_width(a.head_dim) ** 2 * _FLOAT_BYTES) if rotated else None
        self.positions = self._input(t * _INT_BYTES)
        self.v_rotation = self._input(64 * 64 * _FLOAT_BYTES) if rotated else None
        self.k_rows = self._input(t * _LONG_BYTES)
        # without flash attention values are kept transposed: every element goes to a row of its own
        self.v_rows = self._input(t * _LONG_BYTES * (1 if w.flash_attention else a.kv_width))
        self.mask = self._input(t * self.cells * (_HALF_BYTES if w.flash_attention else _FLOAT_BYTES))
        self.output_ids = self._input(self.outputs * _INT_BYTES)
        self._build(layers)

    def _build(self, layers: int) -> None:
        a = self.a
        x = self._floats(self.tokens * a.hidden_size, self.token_ids)  # get_rows
        for layer in range(layers):
            self.layer_starts.append(len(self.nodes))
            last = layer == layers - 1
            rows = self.outputs if last else self.tokens
            y = self._attention(self._norm(x, self.tokens * a.hidden_size))
            if last:
                y = self._floats(rows * a.hidden_size, y, self.output_ids)
                x = self._floats(rows * a.hidden_size, x, self.output_ids)
            x = self._in_place(y, x)
            y = self._mlp(self._norm(x, rows * a.hidden_size), rows)
            x = self._in_place(y, x)
        rows = self.outputs
        normed = self._floats(rows * a.hidden_size, x, in_place=True)
        x = self._floats(rows * a.hidden_size, normed, in_place=True, is_output=True)
        self._floats(rows * a.vocab_size, x, is_output=True)

    def _attention(self, x: int) -> int:
        a, t = self.a, self.tokens
        q = self._rope(self._projection(x, a.q_width), a.q_width)
        q = self._rotate(q, a.q_width, self.k_rotation)
        v = self._rotate(self._view(self._projection(x, a.kv_width)), a.kv_width, self.v_rotation)
        k = self._rope(self._projection(x, a.kv_width), a.kv_width)
        k = self._rotate(k, a.kv_width, self.k_rotation)
        self._outside(self._view(k), self.k_rows)  # set_rows into the cache
        v = self._view(v)
        self._outside(v if self.w.flash_attention else self._view(v), self.v_rows)
        q = self._view(self._view(q))  # view_4d, permute
        if self.w.flash_attention:
            copies = (self._half_copy(), self._half_copy()) if self.w.cache_type == "F32" else ()
            y = self._view(self._floats(t * a.q_width, q, *copies, self.mask))
            y = self._rotate(y, a.q_width, self.v_rotation)
        else:
            scores = self._floats(t * a.num_heads * self.cells, q)
            weights = self._floats(t * a.num_heads * self.cells, scores, self.mask, in_place=True)
            y = self._floats(t * a.q_width, self._view(self._floats(t * a.q_width, weights)))  # cont
        return self._biased(self._floats(t * a.hidden_size, y), a.attention_output_bias)

    def _projection(self, x: int, width: int) -> int:
        return self._biased(self._floats(self.tokens * width, x), self.a.qkv_bias)

    def _rope(self, matrix: int, width: int) -> int:
        x = self._view(matrix)  # reshape to heads
        if self.a.qk_norm:
            x = self._norm(x, self.tokens * width)
        return self._floats(self.tokens * width, x, self.positions, in_place=True)

    def _rotate(self, x: int, width: int, rotation: int | None) -> int:
        """Quantized caches hold keys and values turned by a Hadamard matrix (llama_mul_mat_hadamard)."""
        if rotation is None:
            return x
        return self._view(self._floats(self.tokens * width, rotation, self._view(x)))

    def _mlp(self, x: int, rows: int) -> int:
        a = self.a
        gate = self._biased(self._floats(rows * a.intermediate_size, x), a.mlp_bias)
        up = self._biased(self._floats(rows * a.intermediate_size, x), a.mlp_bias)
        swiglu = self._floats(rows * a.intermediate_size, gate, up)
        return self._biased(self._floats(rows * a.hidden_size, swiglu), a.mlp_bias)

    def _half_copy(self) -> int:
        """A layer's cached keys, or values, in the type that flash attention wants."""
        elements = self.a.kv_width * self.cells * self.w.batch_size
        return self._add(Node(elements * _HALF_BYTES))

    def _norm(self, x: int, elements: int) -> int:
        return self._in_place(self._floats(elements, x, in_place=True))  # rms_norm, mul

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
