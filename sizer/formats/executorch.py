"""ExecuTorch's .pte files for XNNPACK: how each tensor is stored, and the bytes of the file around them.

As ExecuTorch 1.5.1 exports its own Llama (examples/models/llama) with torchao 0.18.0: linear layers, head
included, by `quantize` of source_transformation/quantize.py (8da4w and 8da8w; a matrix whose rows are not
whole groups stays a float matrix), their scales by backends/xnnpack (16 bits with 4-bit weights, else a
float), the embedding by EmbeddingQuantHandler (`embedding_quantize` "8,0" or "4,32", float scales). A tied
table is stored twice, to look up and as the head's matrix. exir/_serialize/_program.py lays out the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sizer.architecture import Architecture, MlpKind, NormKind, PositionKind
from sizer.errors import InvalidArchitecture
from sizer.formats.groups import F32, Plain, RowGroups
from sizer.formats.levels import Activations, Levels, StepFrom
from sizer.formats.recipe import Recipe, by_name
from sizer.formats.stored import FileBytes, StorageType, StoredTensor, sum_bytes
from sizer.shape_words import in_words
from sizer.tensors import Access, Role

SEGMENT_ALIGNMENT = 128  # serialize_pte_binary: segment_alignment
CONSTANT_ALIGNMENT = 16  # serialize_pte_binary: constant_tensor_alignment


def _levels(bits: int, group: int, dtype: str, activations: Activations | None = None) -> Levels:
    """Return levels of torchao's symmetric mapping: the largest magnitude lies between the last two."""
    half, least = 1 << (bits - 1), 2.0**-23
    return Levels(
        group,
        -half,
        half - 1,
        StepFrom.MAGNITUDE,
        half - 0.5,
        dtype,
        least_step=least,
        activations=activations,
    )


def _linear(name: str, bits: int, group: int, scale_bytes: int) -> RowGroups:
    """Return a matrix whose inputs XNNPACK rounds to 8 bits; it keeps 16-bit scales as BF16."""
    dtype = "BF16" if scale_bytes == 2 else "F32"
    levels = _levels(bits, group, dtype, Activations.AFFINE_INT8)
    return RowGroups(name, bits, group, scale_bytes, levels=levels)


def _table(setting: str, bits: int, group: int) -> RowGroups:
    return RowGroups(f"embedding {setting}", bits, group, 4, levels=_levels(bits, group, "F32"))


_LINEAR = (
    *(_linear(f"8da4w-g{group}", 4, group, 2) for group in (32, 64, 128)),
    _linear("8da4w-row", 4, 0, 2),
    _linear("8da8w", 8, 0, 4),
)
# Suffix of a recipe's name: how `embedding_quantize` states it, and the type
_EMBEDDING: dict[str, tuple[str, StorageType]] = {
    "e8": ('embedding 8 bits with a scale a row ("8,0")', _table("8,0", 8, 0)),
    "e4": ('embedding 4 bits in groups of 32 ("4,32")', _table("4,32", 4, 32)),
    "e8g32": ('embedding 8 bits in groups of 32 ("8,32")', _table("8,32", 8, 32)),
    "e32": ("embedding F32", F32),
}


def _recipe(linear: RowGroups, suffix: str) -> Recipe:
    words, embedding = _EMBEDDING[suffix]
    about = f"linear layers {linear.name}, {words}, the rest F32 (ExecuTorch's export of Llama)"
    name = f"{linear.name}-{suffix}"
    return Recipe(name, linear.bits, linear, embedding, linear, F32, about, unties=True)


RECIPES = by_name(
    (
        Recipe("fp32", 32, F32, F32, F32, F32, "every tensor F32, the head's table apart", unties=True),
        *(_recipe(linear, suffix) for linear in _LINEAR for suffix in _EMBEDDING),
    )
)

# `embedding_quantize` of the export by the suffix of a recipe's name
_EMBEDDING_OPTIONS = {"e8": "8,0", "e4": "4,32", "e8g32": "8,32", "e32": None}


def export_options(format_name: str) -> dict[str, str | int | None]:
    """Return the quantization options of ExecuTorch's export of Llama for a format.

    >>> export_options("8da4w-g32-e8")
    {'qmode': '8da4w', 'group_size': 32, 'embedding_quantize': '8,0'}
    """
    linear, _, suffix = format_name.rpartition("-")
    if not linear:
        return {"qmode": None, "group_size": None, "embedding_quantize": None}
    mode, _, group = linear.partition("-g")
    return {
        "qmode": mode.removesuffix("-row"),
        "group_size": int(group or 0),
        "embedding_quantize": _EMBEDDING_OPTIONS[suffix],
    }


# Bytes of XNNPACK's graphs, one for each delegate of a file, and what the linear layers in it add where they
# are quantized to 4 or to 8 bits. They hold no weights; their size is the same for all widths. Read from the
# files of the oracle.
_FIRST_GRAPH = 368
_NORM_GRAPH = (896, None, 0, 0)  # attention norm
_QUERY_GRAPH = (1104, Role.QUERY, 864, 848)
_BIAS_GRAPH_BYTES = 464  # that biases of queries, keys and values add to it
_ROTARY_GRAPH = (2640, None, 0, 0)  # rotary positions, even and odd ones
_HALVES_GRAPH = (1856, None, 0, 0)  # rotary positions, first and second halves
_QUERY_NORM_GRAPHS = ((560, None, 0, 0), (1568, None, 0, 0))  # squares of queries and keys, then their norms
_AFTER_ATTENTION: tuple[tuple[int, Role | None, int, int], ...] = (
    (576, Role.ATTENTION_OUTPUT, 336, 320),
    (560, None, 0, 0),  # residual
    (896, None, 0, 0),  # feed-forward norm
    (864, Role.GATE, 592, 576),
    (688, None, 0, 0),  # activation
    (576, Role.DOWN, 336, 320),
)
_NEXT_BLOCK_GRAPH = 560
_LAST_GRAPHS: tuple[tuple[int, Role | None, int, int], ...] = (
    (448, None, 0, 0),
    (368, None, 0, 0),
    (880, None, 0, 0),
    (576, Role.OUTPUT, 336, 336),
)

# The program: a flatbuffer of values and steps. Fitted to the same files (docs/method.md).
_PROGRAM_BYTES = 5_946
_PROGRAM_BYTES_PER_LAYER = 8_384
_PROGRAM_BYTES_PER_LAYER_OF_HALVES = 7_354  # where positions turn halves
_PROGRAM_BYTES_OF_QUERY_NORMS = 1_346  # of a layer that has them
_PROGRAM_BYTES_PER_MATRIX_PART = 119.4
_PROGRAM_BYTES_LESS_PLAIN_EMBEDDING = 145

_FLOAT_BYTES = 4


class FilePieces(NamedTuple):
    """Bytes of the pieces of a .pte file, in its order."""

    program: int
    constants: tuple[int, ...]  # what no XNNPACK graph holds: norms, embedding, positions, epsilon
    graphs: tuple[int, ...]
    matrices: tuple[int, ...]  # and their scales

    @property
    def total(self) -> int:
        """Bytes of the file, padding included."""
        program = self.program + -self.program % SEGMENT_ALIGNMENT
        constants = padded_sum(self.constants, CONSTANT_ALIGNMENT)
        return program + padded_sum((constants, *self.graphs, *self.matrices), SEGMENT_ALIGNMENT)


def file_pieces(a: Architecture, stored: Sequence[StoredTensor], context_tokens: int) -> FilePieces:
    """Return the pieces of the .pte file that holds these tensors, for contexts of up to that many tokens."""
    matmuls = [t for t in stored if t.spec.access is Access.MATMUL or t.spec.is_bias]
    others = [t for t in stored if not (t.spec.access is Access.MATMUL or t.spec.is_bias)]
    matrices = tuple(size for tensor in matmuls for size in data_bytes(tensor))
    plain_embedding = all(isinstance(tensor.type, Plain) for tensor in others)
    program = _PROGRAM_BYTES - (_PROGRAM_BYTES_LESS_PLAIN_EMBEDDING if plain_embedding else 0)
    program += _program_bytes_per_layer(a) * a.executed_layers
    return FilePieces(
        program=program + round(_PROGRAM_BYTES_PER_MATRIX_PART * len(matrices)),
        constants=(
            *(size for tensor in others for size in data_bytes(tensor)),
            *(rotary_bytes(a, context_tokens) // 2,) * 2,
            _FLOAT_BYTES,
        ),
        graphs=_graph_bytes(a, matmuls),
        matrices=matrices,
    )


def file_bytes(a: Architecture, stored: Sequence[StoredTensor], context_tokens: int) -> FileBytes:
    """Return bytes of the .pte file by part; the directory holds the program, graphs and position tables."""
    pieces = file_pieces(a, stored, context_tokens)
    tensor_bytes = sum_bytes(stored)
    directory = pieces.program + sum(pieces.graphs) + rotary_bytes(a, context_tokens) + _FLOAT_BYTES
    return FileBytes(
        tensor_bytes=tensor_bytes,
        padding_bytes=pieces.total - tensor_bytes - directory,
        directory_bytes=directory,
    )


def data_bytes(tensor: StoredTensor) -> tuple[int, ...]:
    """Return the bytes of the arrays a tensor is kept as: its weights and, where quantized, their scales."""
    kind, spec = tensor.type, tensor.spec
    if not isinstance(kind, RowGroups):
        return (tensor.num_bytes,)
    scales = spec.num_elements // (kind.group or spec.row_length) * kind.scale_bytes
    return (tensor.num_bytes - scales, scales)


def turns_halves(a: Architecture) -> bool:
    """Return True if positions turn the halves of a head, as in Hugging Face's models, not pairs as in Llama.

    So do the examples that ExecuTorch has for Qwen 2.5 and Qwen 3 (`use_hf_rope` of their params.json).
    """
    return a.qk_norm or a.qkv_bias


def rotary_bytes(a: Architecture, context_tokens: int) -> int:
    """Return the bytes of the tables of cosines and sines, one row for every position of the context."""
    width = a.head_dim if turns_halves(a) else a.head_dim // 2
    return 2 * context_tokens * width * _FLOAT_BYTES


def padded_sum(sizes: Sequence[int], alignment: int) -> int:
    """Return the bytes of pieces one after another, all but the last padded to the alignment."""
    return sum(size + -size % alignment for size in sizes[:-1]) + sizes[-1]


def _graph_bytes(a: Architecture, matmuls: Sequence[StoredTensor]) -> tuple[int, ...]:
    """Return the bytes of every XNNPACK graph; a block has its own for every run."""
    bits = {t.spec.role: t.type.bits for t in matmuls if isinstance(t.type, RowGroups)}

    def sizes(graphs: tuple[tuple[int, Role | None, int, int], ...]) -> tuple[int, ...]:
        return tuple(
            size if role not in bits else size + (four_bits if bits[role] == 4 else eight_bits)
            for size, role, four_bits, eight_bits in graphs
        )

    query = _QUERY_GRAPH
    if a.qkv_bias:
        query = (query[0] + _BIAS_GRAPH_BYTES, *query[1:])
    norms = _QUERY_NORM_GRAPHS if a.qk_norm else ()
    rotary = _HALVES_GRAPH if turns_halves(a) else _ROTARY_GRAPH
    block = (_NORM_GRAPH, query, *norms, rotary, *_AFTER_ATTENTION)
    between = (_NEXT_BLOCK_GRAPH,) * (a.executed_layers - 1)
    return (_FIRST_GRAPH, *sizes(block) * a.executed_layers, *between, *sizes(_LAST_GRAPHS))


def _program_bytes_per_layer(a: Architecture) -> int:
    """Return the bytes of a layer's values and steps, without those of its matrices."""
    if not turns_halves(a):
        return _PROGRAM_BYTES_PER_LAYER
    return _PROGRAM_BYTES_PER_LAYER_OF_HALVES + (_PROGRAM_BYTES_OF_QUERY_NORMS if a.qk_norm else 0)


def check_layout(a: Architecture) -> None:
    """Refuse a shape that differs from the exported Llamas that were looked at: no byte count is guessed."""
    unknown = list(a.beyond_llama)
    flags = ("sub_norms", "shared_mlp", "attention_output_bias", "mlp_bias")
    unknown += [name for name in flags if getattr(a, name)]
    if a.qk_norm and a.qkv_bias:
        unknown.append("qk_norm and qkv_bias together")
    usual = {"mlp": MlpKind.SWIGLU, "norm": NormKind.RMSNORM, "position": PositionKind.ROPE}
    unknown += [f"{name} {getattr(a, name)}" for name, kind in usual.items() if getattr(a, name) is not kind]
    if unknown:
        raise InvalidArchitecture(
            f"model: ExecuTorch's layout of a model of this kind is not known (it has {in_words(unknown)})"
        )
