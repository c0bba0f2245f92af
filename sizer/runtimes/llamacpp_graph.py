"""llama.cpp's graph for one micro-batch of a model, as sizes for ggml's allocator.

Follows src/llama-graph.cpp, src/llama-kv-cache.cpp and, of src/models, llama, qwen2, qwen3, gemma, gemma2,
gemma3, phi2, phi3, gpt2, gptneox, bloom, falcon, stablelm, olmo and olmo2 as built into llama-cpp-python
0.3.36; nodes are in the order ggml_build_forward_expand visits them. GPT-NeoX is taken to have its attention
and MLP in parallel, as Pythia has.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.architecture import Architecture, BlockNorms, MlpKind, NormKind, PositionKind
from sizer.formats.gguf_layout import gguf_layout, windowed_layers
from sizer.memory import cache_cells, window_cells
from sizer.runtimes.ggml_allocator import Node
from sizer.workload import QUANTIZED_CACHE_TYPES, Workload

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_INT_BYTES = 4
_LONG_BYTES = 8


class Widths(NamedTuple):
    """The numbers of an architecture that sizes of a graph are multiples of."""

    hidden_size: int
    intermediate_size: int
    q_width: int
    kv_width: int
    vocab_size: int
    num_heads: int

    @classmethod
    def of(cls, a: Architecture) -> Widths:
        """Return those of an architecture."""
        return cls(a.hidden_size, a.intermediate_size, a.q_width, a.kv_width, a.vocab_size, a.num_heads)


class GraphKind(NamedTuple):
    """All of an architecture, but its widths, that its graph depends on."""

    layout: str | None
    mlp: MlpKind
    norm: NormKind
    position: PositionKind
    block_norms: BlockNorms
    embedding_norm: bool
    fused_qkv: bool
    fused_gate_up: bool
    qkv_bias: bool
    qk_norm: bool
    qk_norm_all_heads: bool
    attention_output_bias: bool
    mlp_bias: bool
    rotation_width: int | None  # of keys and values in quantized caches
    window_cells: int
    is_windowed: tuple[bool, ...]  # of each layer


def graph_kind(architecture: Architecture, workload: Workload, layers: int) -> GraphKind:
    """Return the kind of graph of an architecture's first layers."""
    a = architecture
    rotates = workload.cache_type in QUANTIZED_CACHE_TYPES and a.head_dim % 64 == 0
    windowed = frozenset(windowed_layers(a))
    return GraphKind(
        gguf_layout(a),
        a.mlp,
        a.norm,
        a.position,
        a.block_norms,
        a.embedding_norm,
        a.fused_qkv,
        a.fused_gate_up,
        a.qkv_bias,
        a.qk_norm,
        a.qk_norm_all_heads,
        a.attention_output_bias,
        a.mlp_bias,
        _rotation_width(a.head_dim) if rotates else None,
        window_cells(a, workload),
        tuple(layer in windowed for layer in range(layers)),
    )


# Layouts other than Llama's whose graphs are built here.
_FOLLOWED = (
    *("gemma2", "gemma3", "phi2", "phi3", "gpt2", "gptneox", "bloom", "falcon", "stablelm", "olmo2"),
    "deci",  # Llama's, with the largest of its FFN sizes for all
    "granite_swa",  # Llama's with windows; sinks are no steps of their own
)


def knows(a: Architecture) -> bool:
    """Return True if llama.cpp's graph of this architecture is the one built here."""
    layout = gguf_layout(a)
    if layout != "llama":
        return layout in _FOLLOWED
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


class Graph:
    """The graph of a model of some kind and widths, and where in it each layer starts.

    `-b` is taken to be at least `-ub`, so that every token of the micro-batch can have logits.
    """

    def __init__(
        self, kind: GraphKind, widths: Widths, workload: Workload, outputs: int | None = None
    ) -> None:
        a, w = kind, workload
        self.a = kind
        self.n = widths
        self.w = w
        self.gemma = a.mlp is MlpKind.GEGLU
        self.nodes: list[Node] = []
        self.layer_starts: list[int] = []
        tokens = min(w.ubatch_tokens, w.context_tokens * w.batch_size)
        self.tokens = tokens + -tokens % w.batch_size  # as many for every sequence
        self.outputs = tokens if outputs is None else outputs
        t = self.tokens
        # The inputs, in the order the graph reaches them; rows of embeddings, unused, are one of them.
        self.token_ids = self._input(t * _INT_BYTES)
        self._input(t * self.n.hidden_size * _FLOAT_BYTES)
        self.positions: int | None = None
        if a.position is PositionKind.LEARNED:
            self.positions = self._input(t * _INT_BYTES)
        self.caches: dict[bool, _Cache] = {}
        for is_windowed in dict.fromkeys(kind.is_windowed):
            cells = kind.window_cells if is_windowed else cache_cells(w)
            self.caches[is_windowed] = self._cache_inputs(cells)
        self.output_ids = self._input(self.outputs * _INT_BYTES)
        self._build()

    def _cache_inputs(self, cells: int) -> _Cache:
        a, w, t = self.a, self.w, self.tokens
        rotated = a.rotation_width
        k_rotation = self._input(rotated**2 * _FLOAT_BYTES) if rotated else None
        if self.positions is None and a.position is PositionKind.ROPE:
            self.positions = self._input(t * _INT_BYTES)
        return _Cache(
            cells,
            k_rotation,
            self._input(64 * 64 * _FLOAT_BYTES) if rotated else None,
            self._input(t * _LONG_BYTES),
            # without flash attention values are kept transposed: every element goes to a separate row
            self._input(t * _LONG_BYTES * (1 if w.flash_attention else self.n.kv_width)),
            self._input(t * cells * (_HALF_BYTES if w.flash_attention else _FLOAT_BYTES)),
        )

    def _build(self) -> None:
        a, layers = self.a, len(self.a.is_windowed)
        t = self.tokens * self.n.hidden_size
        x = self._floats(t, self.token_ids)  # get_rows
        if self.gemma:
            x = self._in_place(x)  # scale
        if a.position is PositionKind.LEARNED:
            x = self._in_place(x, self._floats(t, self.positions or 0))
        if a.embedding_norm:
            x = self._norm(x, t)
        for layer in range(layers):
            self.layer_starts.append(len(self.nodes))
            x = self._block(x, self.caches[a.is_windowed[layer]], last=layer == layers - 1)
        rows = self.outputs
        normed = self._norm(x, rows * self.n.hidden_size, is_output=True)
        scaled = a.layout == "granite_swa"
        logits = self._floats(rows * self.n.vocab_size, normed, is_output=not scaled)
        if scaled:
            self._add(Node(self.nodes[logits].num_bytes, (logits,), in_place=True, is_output=True))

    def _block(self, x: int, cache: _Cache, *, last: bool) -> int:
        norms = self.a.block_norms
        rows = self.outputs if last else self.tokens
        normed = x if norms is BlockNorms.POST else self._norm(x, self.tokens * self.n.hidden_size)
        attended = self._attention(normed, cache)
        if self.a.layout in ("gptneox", "falcon", "stablelm"):
            return self._parallel_block(x, normed, attended, cache, last=last)
        y = self._attention_output(attended, cache)
        if last:
            y, x = self._rows(y), self._rows(x)
        if norms is BlockNorms.ONE:  # Phi-2
            y = self._in_place(y, self._mlp(self._rows(normed) if last else normed, rows))
            return self._in_place(y, x)
        if norms is not BlockNorms.PRE:
            y = self._norm(y, rows * self.n.hidden_size)
        x = self._in_place(y, x)
        y = self._mlp(x if norms is BlockNorms.POST else self._norm(x, rows * self.n.hidden_size), rows)
        if norms is not BlockNorms.PRE:
            y = self._norm(y, rows * self.n.hidden_size)
        return self._in_place(y, x)

    def _parallel_block(self, x: int, normed: int, attended: int, cache: _Cache, *, last: bool) -> int:
        """Add attention and MLP in parallel, the MLP first: GPT-NeoX, Falcon, StableLM."""
        rows = self.outputs if last else self.tokens
        if self.a.layout == "gptneox":
            x = self._rows(x) if last else x
            y = self._in_place(self._mlp(self._norm(x, rows * self.n.hidden_size), rows), x)
            z = self._attention_output(attended, cache)
            return self._in_place(y, self._rows(z) if last else z)
        y = self._mlp(self._rows(normed) if last else normed, rows)
        z = self._attention_output(attended, cache)
        z = self._rows(z) if last else z
        if self.a.layout == "falcon":
            y = self._in_place(y, z)
            return self._in_place(y, self._rows(x) if last else x)
        return self._in_place(y, self._in_place(z, self._rows(x) if last else x))

    def _rows(self, x: int) -> int:
        """Return the tokens that logits are asked of."""
        return self._floats(self.outputs * self.n.hidden_size, x, self.output_ids)

    def _attention(self, x: int, cache: _Cache) -> int:
        """Add attention up to its output matrix, which the graph reaches later."""
        a, t = self.a, self.tokens
        fused = None
        if a.fused_qkv:
            fused = self._projection(x, self.n.q_width + 2 * self.n.kv_width)
        q = self._query_or_key(x, fused, cache, is_query=True)
        if any(a.is_windowed):
            k = self._query_or_key(x, fused, cache, is_query=False)
            v = self._value(x, fused, cache)
        else:
            v = self._value(x, fused, cache)
            k = self._query_or_key(x, fused, cache, is_query=False)
        self._outside(self._view(k), cache.k_rows)  # set_rows into the cache
        if fused is not None and not self.w.flash_attention:
            v = self._floats(t * self.n.kv_width, v)  # cont
        else:
            v = self._view(v)
        self._outside(v if self.w.flash_attention else self._view(v), cache.v_rows)
        q = self._view(self._view(q))  # view_4d, permute
        if self.w.flash_attention:
            copies = (self._half_copy(cache), self._half_copy(cache)) if self.w.cache_type == "F32" else ()
            return self._view(self._floats(t * self.n.q_width, q, *copies, cache.mask))
        scores = self._floats(t * self.n.num_heads * cache.cells, q)
        if self.a.layout == "gemma2":
            scores = self._in_place(self._in_place(self._in_place(scores)))  # soft cap
        weights = self._floats(t * self.n.num_heads * cache.cells, scores, cache.mask, in_place=True)
        return self._floats(t * self.n.q_width, self._view(self._floats(t * self.n.q_width, weights)))  # cont

    def _attention_output(self, y: int, cache: _Cache) -> int:
        y = self._rotate(y, self.n.q_width, cache.v_rotation)
        return self._biased(self._floats(self.tokens * self.n.hidden_size, y), self.a.attention_output_bias)

    def _projection(self, x: int, width: int) -> int:
        return self._biased(self._floats(self.tokens * width, x), self.a.qkv_bias)

    def _query_or_key(self, x: int, fused: int | None, cache: _Cache, *, is_query: bool) -> int:
        a = self.a
        width = self.n.q_width if is_query else self.n.kv_width
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
        if is_query and (self.gemma or self.a.layout in ("phi2", "phi3")):
            y = self._in_place(y)  # scale
        strided = fused is not None and a.position is not PositionKind.ROPE
        return self._rotate(y, width, cache.k_rotation, strided=strided)

    def _value(self, x: int, fused: int | None, cache: _Cache) -> int:
        width = self.n.kv_width
        if fused is not None:
            v = self._add(Node(self.tokens * width * _FLOAT_BYTES, (fused,), view_of=fused))
        else:
            v = self._view(self._projection(x, width))
        return self._rotate(v, width, cache.v_rotation, strided=fused is not None)

    def _rotate(self, x: int, width: int, rotation: int | None, *, strided: bool = False) -> int:
        """Add the Hadamard rotation of keys and values in quantized caches (llama_mul_mat_hadamard)."""
        if rotation is None:
            return x
        rows = self._floats(self.tokens * width, x) if strided else self._view(x)  # cont or reshape
        return self._view(self._floats(self.tokens * width, rotation, rows))

    def _mlp(self, x: int, rows: int) -> int:
        a = self.a
        width = rows * self.n.intermediate_size
        if a.fused_gate_up:
            y = self._floats(width, self._floats(2 * width, x))
        elif a.mlp.gated:
            gate = self._biased(self._floats(width, x), a.mlp_bias)
            up = self._biased(self._floats(width, x), a.mlp_bias)
            y = self._floats(width, gate, up)
        else:
            y = self._in_place(self._biased(self._floats(width, x), a.mlp_bias))
        return self._biased(self._floats(rows * self.n.hidden_size, y), a.mlp_bias)

    def _half_copy(self, cache: _Cache) -> int:
        """Return a layer's cached keys, or values, in the type that flash attention wants."""
        elements = self.n.kv_width * cache.cells * self.w.batch_size
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
    """Return largest power of two times 64 that divides a head (llama_kv_cache::build_input_k_rot)."""
    width = 64
    while head_dim % (2 * width) == 0:
        width *= 2
    return width
