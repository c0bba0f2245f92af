"""Which tensors a kind of architecture has, with the names of their sizes in place of numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from sizer.architecture import Architecture, LayerSharing
from sizer.formats.gguf import FIXED_HEADER_BYTES, directory_bytes
from sizer.tensors import Group, Role, TensorSpec, tensor_specs

# Sizes that are all different, their products included, so that each shows which it is.
_SIZES: dict[str, Any] = {
    "hidden_size": 101,
    "intermediate_size": 103,
    "num_heads": 6,
    "num_kv_heads": 3,
    "head_dim": 34,
    "vocab_size": 107,
}


class MatrixColumns(NamedTuple):
    """A matrix of every layer, or of none: role and the names of its two sizes."""

    role: Role
    rows: str
    columns: str


class Vector(NamedTuple):
    """A norm or bias: the group it is counted under and the name of its size."""

    group: Group
    width: str


class Blueprint(NamedTuple):
    """Tensors of one layer, and vectors outside the layers; the tables of the vocabulary are left out."""

    matrices: tuple[MatrixColumns, ...]
    vectors: tuple[Vector, ...]
    outside: tuple[Vector, ...]
    layer_directory_bytes: int  # of a layer with a number of one digit
    layer_tensors: int
    directory_bytes: int  # without layers, tied
    untied_directory_bytes: int


def kind_of(like: Architecture) -> Architecture:
    """Return the architecture of this kind that all rows of a grid share: its sizes do not matter."""
    return replace(like, num_layers=1, tie_embeddings=True, sharing=LayerSharing(), **_SIZES)


@lru_cache(maxsize=64)
def blueprint(kind: Architecture) -> Blueprint:
    """Return the tensors of a kind, as tensor_specs lists them for one specimen."""
    tied = tensor_specs(kind)
    untied = tensor_specs(replace(kind, tie_embeddings=False))
    layer = [spec for spec in tied if spec.layer is not None]
    outside = [spec for spec in tied if spec.layer is None]
    names = {
        **{_SIZES[n]: n for n in ("hidden_size", "intermediate_size", "head_dim", "vocab_size")},
        kind.q_width: "q_width",
        kind.kv_width: "kv_width",
    }
    vectors = _vectors(outside, names)
    tables = {(spec.role, spec.shape) for spec in untied if spec.layer is None and len(spec.shape) > 1}
    shape = (_SIZES["vocab_size"], _SIZES["hidden_size"])
    assert tables == {(Role.TOKEN_EMBEDDING, shape), (Role.OUTPUT, shape)}, tables
    return Blueprint(
        matrices=tuple(
            MatrixColumns(spec.role, *(names[size] for size in spec.shape))
            for spec in layer
            if len(spec.shape) > 1
        ),
        vectors=_vectors(layer, names),
        outside=vectors,
        layer_directory_bytes=directory_bytes(layer),
        layer_tensors=len(layer),
        directory_bytes=FIXED_HEADER_BYTES + directory_bytes(outside),
        untied_directory_bytes=FIXED_HEADER_BYTES
        + directory_bytes([spec for spec in untied if spec.layer is None]),
    )


def _vectors(specs: list[TensorSpec], names: dict[int, str]) -> tuple[Vector, ...]:
    return tuple(Vector(spec.role.group, names[spec.shape[0]]) for spec in specs if len(spec.shape) == 1)
