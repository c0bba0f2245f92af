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
from sizer.formats.recipe import Recipe, by_name
from sizer.formats.stored import FileBytes, StorageType, StoredTensor
from sizer.tensors import Access, Role, count_parameters, tensor_specs

SEGMENT_ALIGNMENT = 128  # serialize_pte_binary: segment_alignment
CONSTANT_ALIGNMENT = 16  # serialize_pte_binary: constant_tensor_alignment

_LINEAR = (
    *(RowGroups(f"8da4w-g{group}", 4, group, 2) for group in (32, 64, 128)),
    RowGroups("8da4w-row", 4, 0, 2),
    RowGroups("8da8w", 8, 0, 4),
)
# Suffix of a recipe's name: how `embedding_quantize` says it, and the type
_EMBEDDING: dict[str, tuple[str, StorageType]] = {
    "e8": ('embedding 8 bits with a scale a row ("8,0")', RowGroups("embedding 8,0", 8, 0, 4)),
    "e4": ('embedding 4 bits in groups of 32 ("4,32")', RowGroups("embedding 4,32", 4, 32, 4)),
    "e8g32": ('embedding 8 bits in groups of 32 ("8,32")', RowGroups("embedding 8,32", 8, 32, 4)),
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

# Bytes of XNNPACK's graphs, one for each delegate of a file, and what the linear layers in it add where they
# are quantized to 4 or to 8 bits. They hold no weights; their size is the same for all widths. Read from the
# files of the oracle.
_FIRST_GRAPH = 368
_BLOCK_GRAPHS: tuple[tuple[int, Role | None, int, int], ...] = (
    (896, None, 0, 0),  # attention norm
    (1104, Role.QUERY, 864, 848),
    (2640, None, 0, 0),  # rotary positions
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
    """The pieces of the .pte file that holds these tensors, for contexts of up to so many tokens."""
    matmuls = [tensor for tensor in stored if tensor.spec.access is Access.MATMUL]
    others = [tensor for tensor in stored if tensor.spec.access is not Access.MATMUL]
    matrices = tuple(size for tensor in matmuls for size in data_bytes(tensor))
    plain_embedding = all(isinstance(tensor.type, Plain) for tensor in others)
    program = _PROGRAM_BYTES - (_PROGRAM_BYTES_LESS_PLAIN_EMBEDDING if plain_embedding else 0)
    program += _PROGRAM_BYTES_PER_LAYER * a.executed_layers
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
    """Bytes of the .pte file by part; the directory is the program, XNNPACK's graphs and position tables."""
    pieces = file_pieces(a, stored, context_tokens)
    tensor_bytes = sum(tensor.num_bytes for tensor in stored)
    directory = pieces.program + sum(pieces.graphs) + rotary_bytes(a, context_tokens) + _FLOAT_BYTES
    return FileBytes(
        tensor_bytes=tensor_bytes,
        padding_bytes=pieces.total - tensor_bytes - directory,
        directory_bytes=directory,
    )


def data_bytes(tensor: StoredTensor) -> tuple[int, ...]:
    """Bytes of the arrays a tensor is kept as: its weights and, where quantized, their scales."""
    kind, spec = tensor.type, tensor.spec
    if not isinstance(kind, RowGroups):
        return (tensor.num_bytes,)
    scales = spec.num_elements // (kind.group or spec.row_length) * kind.scale_bytes
    return (tensor.num_bytes - scales, scales)


def rotary_bytes(a: Architecture, context_tokens: int) -> int:
    """Bytes of the tables of cosines and sines, one row for every position of the context."""
    return 2 * context_tokens * (a.head_dim // 2) * _FLOAT_BYTES


def padded_sum(sizes: Sequence[int], alignment: int) -> int:
    """Bytes of pieces one after another, all but the last padded to the alignment."""
    return sum(size + -size % alignment for size in sizes[:-1]) + sizes[-1]


def _graph_bytes(a: Architecture, matmuls: Sequence[StoredTensor]) -> tuple[int, ...]:
    """Bytes of every XNNPACK graph; a block has its own for every run."""
    bits = {t.spec.role: t.type.bits for t in matmuls if isinstance(t.type, RowGroups)}

    def sizes(graphs: tuple[tuple[int, Role | None, int, int], ...]) -> tuple[int, ...]:
        return tuple(
            size if role not in bits else size + (four_bits if bits[role] == 4 else eight_bits)
            for size, role, four_bits, eight_bits in graphs
        )

    between = (_NEXT_BLOCK_GRAPH,) * (a.executed_layers - 1)
    return (_FIRST_GRAPH, *sizes(_BLOCK_GRAPHS) * a.executed_layers, *between, *sizes(_LAST_GRAPHS))


def check_layout(a: Architecture) -> None:
    """Refuse a shape that differs from the exported Llamas that were looked at: no byte count is guessed."""
    unknown = list(a.beyond_llama)
    flags = ("sub_norms", "shared_mlp", "qk_norm", "qkv_bias", "attention_output_bias", "mlp_bias")
    unknown += [name for name in flags if getattr(a, name)]
    usual = {"mlp": MlpKind.SWIGLU, "norm": NormKind.RMSNORM, "position": PositionKind.ROPE}
    unknown += [f"{name} {getattr(a, name)}" for name, kind in usual.items() if getattr(a, name) is not kind]
    if unknown:
        raise InvalidArchitecture(
            f"model: ExecuTorch's layout of {a.name!r} is not known yet (it has {', '.join(unknown)}); its "
            f"parameters are: {count_parameters(tensor_specs(a)).total:,}"
        )
