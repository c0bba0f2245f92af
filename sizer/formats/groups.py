"""Weights in groups that share a scale, as engines other than llama.cpp store them; names of the parts."""

from __future__ import annotations

from math import prod
from typing import NamedTuple, Protocol

from sizer.formats.levels import FloatLevels, NotModelled, Rounding
from sizer.formats.stored import StorageType
from sizer.tensors import TensorSpec


class StoredPart(NamedTuple):
    """One array that a stored tensor is written as: name, type in safetensors' terms, shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of its data."""
        return prod(self.shape) * DTYPE_BYTES[self.dtype]


# safetensors' types that are used here (github huggingface/safetensors, safetensors/src/tensor.rs, Dtype)
DTYPE_BYTES = {
    **{"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1},
    **{"I64": 8, "U32": 4, "I32": 4, "I16": 2, "I8": 1, "U8": 1},
}


class PartedType(StorageType, Protocol):
    """A storage type that lists which arrays it writes."""

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the arrays that hold the tensor."""


def parts_bytes(parts: tuple[StoredPart, ...]) -> int:
    """Return the bytes of all arrays of a tensor."""
    return sum(part.num_bytes for part in parts)


class Plain(NamedTuple):
    """Every weight on its own, in a floating-point type."""

    name: str

    @property
    def levels(self) -> Rounding:
        """Values of the type."""
        return FloatLevels(self.name)

    def fits(self, row_length: int) -> bool:
        """Return the any row."""
        return True

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the tensor as it is."""
        return (StoredPart(spec.name, self.name, spec.shape),)

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return spec.num_elements * DTYPE_BYTES[self.name]


F32, F16, BF16 = Plain("F32"), Plain("F16"), Plain("BF16")


class RowGroups(NamedTuple):
    """Rows in groups of `group` weights (0: the whole row), each with a scale and perhaps a zero point.

    The last group of a row is stored whole where `padded`, otherwise rows must divide into groups.
    """

    name: str
    bits: int
    group: int
    scale_bytes: int
    zero_bits: int = 0
    padded: bool = False
    levels: Rounding = NotModelled("its rounding is not declared")
    tensor_overhead_bytes: int = 0

    def fits(self, row_length: int) -> bool:
        """Return True if rows of this length divide into groups, or are padded to."""
        return self.padded or self.group == 0 or row_length % self.group == 0

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor: weights, scales, zero points."""
        rows, group = spec.num_elements // spec.row_length, self.group or spec.row_length
        groups = -(-spec.row_length // group)
        row = (
            -(-groups * group * self.bits // 8) + groups * self.scale_bytes + -(-groups * self.zero_bits // 8)
        )
        return rows * row + self.tensor_overhead_bytes
