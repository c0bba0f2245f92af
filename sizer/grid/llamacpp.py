"""llama.cpp for a grid: bytes of every tensor by the rules of its mix, of the file and of the memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sizer.architecture import MAX_LAYERS, Architecture
from sizer.formats.ggml import TYPES
from sizer.formats.gguf import ALIGNMENT, known_tokenizers, tokenizer_bytes_per_row
from sizer.formats.llamacpp import LlamaCppMix, fitting_type, mix
from sizer.grid.blueprint import Vector, blueprint, kind_of
from sizer.grid.buffer_steps import LAYERS
from sizer.grid.columns import Grid, Ints
from sizer.grid.compute_buffer import buffer_bytes
from sizer.runtimes import llamacpp_graph
from sizer.runtimes.llamacpp import approximate_compute_buffer_bytes, compute_buffer_bytes
from sizer.tensors import Role
from sizer.workload import QUANTIZED_CACHE_TYPES, Workload

Sizes = Mapping[str, Ints]  # of a part of a grid, by name; q_width and kv_width too

# All block types have 1, 32, 64, 128 or 256 elements, so what fits a row is a matter of how often 2 divides
# its length: its class, 0 to 8. Bytes are counted for 256 weights, which makes them whole for every type.
_WEIGHTS = 256
_CLASSES = 9
_CLASS = np.array([8] + [(n & -n).bit_length() - 1 for n in range(1, _WEIGHTS)], np.intp)
assert all(_WEIGHTS % block.block_elements == 0 for block in TYPES.values())

_F32_BYTES = TYPES["F32"].block_bytes

# Digits beyond the first in the numbers of all layers of a model.
_MORE_DIGITS = np.concatenate([[0], np.cumsum([len(str(i)) - 1 for i in range(MAX_LAYERS)])]).astype(np.int64)

# Columns are of 64 bits.
_MOST_BYTES = 2**62


class Stored(NamedTuple):
    """Bytes of the tensors of a part of a grid, as llama.cpp stores them."""

    tensor_bytes: Ints
    padding_bytes: Ints
    embedding_bytes: Ints
    weights: Ints
    layer_weights: Ints  # of one layer


class _Types(NamedTuple):
    """Types of one size of matrix over all layers, by the number of a pair (executed layers, gqa)."""

    bytes_of_256: Ints  # by pair x class of the row: summed over layers
    named: tuple[
        tuple[Ints, Ints], ...
    ]  # for each type before a fallback: its bytes by class, layers by pair


class LlamaCppGrid:
    """A mix applied to the rows of one grid."""

    def __init__(self, grid: Grid, format_name: str) -> None:
        self.mix = mix(format_name)
        self.plan = blueprint(kind_of(grid.like))
        self.layers = grid.executed_layers
        self.pairs, pairs = _pairs(self.layers, grid)
        shapes: dict[tuple[str, str], list[Role]] = {}
        for matrix in self.plan.matrices:
            shapes.setdefault((matrix.rows, matrix.columns), []).append(matrix.role)
        self.types = {shape: _types(self.mix, roles, pairs) for shape, roles in shapes.items()}
        self.embedding = [self._table(Role.TOKEN_EMBEDDING, tied=tied) for tied in (False, True)]
        self.output = self._table(Role.OUTPUT, tied=False)

    def _table(self, role: Role, *, tied: bool) -> Ints:
        names = [self.mix.table_type(role, 1 << c, tied=tied) for c in range(_CLASSES)]
        return np.array([_bytes_of_256(name, c) for c, name in enumerate(names)], np.int64)

    def store(self, sizes: Sizes, tied: NDArray[np.bool_], some: slice) -> Stored:
        """Return the bytes and weights of every tensor of some rows."""
        layers, pair = self.layers[some], self.pairs[some] * _CLASSES
        classes = {name: _CLASS[sizes[name] & (_WEIGHTS - 1)] for name in {c for _, c in self.types}}
        of_256 = np.zeros(len(layers), np.int64)
        layer_weights = np.zeros(len(layers), np.int64)
        padding = np.zeros(len(layers), np.int64)
        for (rows, columns), types in self.types.items():
            weights = sizes[rows] * sizes[columns]
            roles = sum(matrix[1:] == (rows, columns) for matrix in self.plan.matrices)
            layer_weights += weights * roles
            of_256 += weights * types.bytes_of_256[pair + classes[columns]]
            # rows are of an even number of bytes, so with 32 of them, or twice as many, nothing is padded
            if (sizes[rows] & (ALIGNMENT - 1)).any():
                for by_class, by_pair in types.named:
                    size = weights * by_class[classes[columns]] >> 8
                    padding += by_pair[self.pairs[some]] * (-size & (ALIGNMENT - 1))
        vocabulary = sizes["vocab_size"] * sizes["hidden_size"]
        row_class = classes["hidden_size"]
        embedding = (
            vocabulary * np.where(tied, self.embedding[1][row_class], self.embedding[0][row_class]) >> 8
        )
        output = np.where(tied, 0, vocabulary * self.output[row_class] >> 8)
        padding += (-embedding & (ALIGNMENT - 1)) + (-output & (ALIGNMENT - 1))
        small, once = total_width(self.plan.vectors, sizes), total_width(self.plan.outside, sizes)
        layer_weights += small
        for vectors, times in ((self.plan.vectors, layers), (self.plan.outside, 1)):
            for width, count in Counter(vector.width for vector in vectors).items():
                padding += count * times * (-_F32_BYTES * sizes[width] & (ALIGNMENT - 1))
        return Stored(
            tensor_bytes=(of_256 >> 8) + embedding + output + _F32_BYTES * (layers * small + once),
            padding_bytes=padding,
            embedding_bytes=embedding,
            weights=layers * layer_weights + once + np.where(tied, vocabulary, 2 * vocabulary),
            layer_weights=layer_weights,
        )

    def file_bytes(self, stored: Stored, sizes: Sizes, tied: NDArray[np.bool_], some: slice) -> Ints:
        """Return the bytes of the whole GGUF file of some rows."""
        layers, plan = self.layers[some], self.plan
        directory = np.where(tied, plan.directory_bytes, plan.untied_directory_bytes)
        directory += layers * plan.layer_directory_bytes + plan.layer_tensors * _MORE_DIGITS[layers]
        return (
            stored.tensor_bytes
            + stored.padding_bytes
            + directory
            + known_tokenizer_bytes(sizes["vocab_size"])
        )


def total_width(vectors: Sequence[Vector], sizes: Sizes) -> Ints:
    """Return the weights of some vectors together, for every row."""
    total = np.zeros(len(sizes["hidden_size"]), np.int64)
    for width, count in Counter(vector.width for vector in vectors).items():
        total += count * sizes[width]
    return total


def _bytes_of_256(name: str, row_class: int) -> int:
    block = fitting_type(name, 1 << row_class)
    return _WEIGHTS // block.block_elements * block.block_bytes


def _pairs(layers: Ints, grid: Grid) -> tuple[NDArray[np.intp], list[tuple[int, int]]]:
    """Return the number of each row's pair (executed layers, query heads per KV head), and the pairs."""
    gqa = (grid.num_heads / grid.num_kv_heads).astype(np.int64)  # whole: the grid was checked
    most = int(gqa.max(initial=0)) + 1
    key = layers * most + gqa
    if len(key) and most <= 2**10:
        met = np.zeros(int(key.max()) + 1, np.bool_)
        met[key] = True
        found = np.flatnonzero(met)
        number = np.zeros(len(met), np.intp)
        number[found] = np.arange(len(found))
        rows: NDArray[np.intp] = number[key]
    else:
        found, rows = np.unique(key, return_inverse=True)
    return rows, [divmod(int(k), most) for k in found]


def _types(by: LlamaCppMix, roles: Sequence[Role], pairs: Sequence[tuple[int, int]]) -> _Types:
    """Return the types of all the matrices of one size."""
    counts: dict[str, Ints] = {}
    for i, (layers, gqa) in enumerate(pairs):
        for role in roles:
            for name, count in _type_counts(by, role, layers, gqa):
                counts.setdefault(name, np.zeros(len(pairs), np.int64))[i] += count
    by_class = {
        name: np.array([_bytes_of_256(name, c) for c in range(_CLASSES)], np.int64) for name in counts
    }
    total = np.zeros((len(pairs), _CLASSES), np.int64)
    for name, layers_of in counts.items():
        total += layers_of[:, None] * by_class[name]
    return _Types(total.ravel(), tuple((by_class[name], counts[name]) for name in counts))


@lru_cache(maxsize=2**16)
def _type_counts(by: LlamaCppMix, role: Role, num_layers: int, gqa: int) -> tuple[tuple[str, int], ...]:
    """Return how many layers have each type, before fallbacks."""
    return tuple(Counter(by.layer_types(role, num_layers, gqa)).items())


def known_tokenizer_bytes(vocab_size: Ints) -> Ints:
    """Return the bytes of metadata and tokenizer that files of these vocabularies usually have."""
    rounded = np.rint(tokenizer_bytes_per_row()[1] * vocab_size)  # halves to even, as round does
    found: Ints = rounded.astype(np.int64)
    for size, known in reversed(known_tokenizers()):
        found[vocab_size == size] = known.value
    return found


def compute_bytes(grid: Grid, sizes: Sizes, workload: Workload) -> Ints:
    """Return the bytes of llama.cpp's CPU compute buffer for every row."""

    def alone(row: int) -> int:
        return compute_buffer_bytes(grid.architecture(row), workload)

    if not llamacpp_graph.knows(grid.like):
        return _approximate_bytes(grid, sizes, workload, alone)
    widths = [sizes[name] for name in llamacpp_graph.Widths._fields]
    result = np.empty(len(grid), np.int64)
    for rows, kind in _graph_kinds(grid, workload):
        part = [column[rows] for column in widths]
        result[rows] = buffer_bytes(kind, workload, part, grid.executed_layers[rows], _of(rows, alone))
    return result


def _of(rows: slice | Ints, alone: Callable[[int], int]) -> Callable[[int], int]:
    return alone if isinstance(rows, slice) else lambda row: alone(int(rows[row]))


def _graph_kinds(grid: Grid, workload: Workload) -> Iterator[tuple[slice | Ints, llamacpp_graph.GraphKind]]:
    """Yield rows whose graphs differ in sizes alone, and their kind: quantized caches rotate some heads."""
    if workload.cache_type not in QUANTIZED_CACHE_TYPES:
        yield slice(None), llamacpp_graph.graph_kind(grid.architecture(0), workload, LAYERS)
        return
    power_of_two = grid.head_dim & -grid.head_dim
    for power in np.unique(power_of_two):
        rows = np.flatnonzero(power_of_two == power)
        yield rows, llamacpp_graph.graph_kind(grid.architecture(int(rows[0])), workload, LAYERS)


class _Columns:
    """An architecture with columns in place of its numbers."""

    def __init__(self, like: Architecture, sizes: Mapping[str, Any]) -> None:
        self._like = like
        self.__dict__.update(sizes)
        self.active_mlp_width = sizes["intermediate_size"]  # no kind of a grid has experts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._like, name)


def _approximate_bytes(grid: Grid, sizes: Sizes, workload: Workload, alone: Callable[[int], int]) -> Ints:
    largest: Any = _Columns(grid.like, {name: int(column.max()) for name, column in sizes.items()})
    if approximate_compute_buffer_bytes(largest, workload) > _MOST_BYTES:
        return np.array([alone(row) for row in range(len(grid))], np.int64)
    shapes: Any = _Columns(grid.like, sizes)
    found: Any = approximate_compute_buffer_bytes(shapes, workload, np.maximum)
    return np.asarray(found, np.int64)
