"""ggml's block types: elements and bytes of one block, bytes of a row and of a tensor."""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.levels import FloatLevels, Levels, NotModelled, Rounding, SearchedScales, StepFrom, Ties
from sizer.tensors import TensorSpec


class BlockType(NamedTuple):
    """A storage type: `block_bytes` hold `block_elements` weights of one row."""

    name: str
    block_elements: int
    block_bytes: int

    @property
    def levels(self) -> Rounding:
        """Values that stored weights can take."""
        return _LEVELS.get(self.name, _NOT_MODELLED)

    @property
    def bits_per_weight(self) -> float:
        """Bits one weight takes, scales included."""
        return self.block_bytes * 8 / self.block_elements

    def fits(self, row_length: int) -> bool:
        """Return True if rows of this length divide into whole blocks."""
        return row_length % self.block_elements == 0

    def row_bytes(self, row_length: int) -> int:
        """Return the bytes of one row; the length must divide into whole blocks."""
        assert self.fits(row_length), f"{row_length} is not a multiple of {self.block_elements} ({self.name})"
        return row_length // self.block_elements * self.block_bytes

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor, without the file's alignment."""
        row_length = spec.shape[-1]
        assert self.fits(row_length), f"{row_length} is not a multiple of {self.block_elements} ({self.name})"
        return spec.num_elements // self.block_elements * self.block_bytes


# Sizes: llama.cpp ggml/src/ggml-common.h, structs and their static_asserts (commits c392e509 and, from
# Q1_0 down, 01243c58).
TYPES: dict[str, BlockType] = {
    name: BlockType(name, elements, size)
    for name, elements, size in (
        ("F32", 1, 4),
        ("F16", 1, 2),
        ("BF16", 1, 2),
        ("Q4_0", 32, 18),
        ("Q4_1", 32, 20),
        ("Q5_0", 32, 22),
        ("Q5_1", 32, 24),
        ("Q8_0", 32, 34),
        ("Q8_1", 32, 36),
        ("Q2_K", 256, 84),
        ("Q3_K", 256, 110),
        ("Q4_K", 256, 144),
        ("Q5_K", 256, 176),
        ("Q6_K", 256, 210),
        ("Q8_K", 256, 292),
        ("IQ1_S", 256, 50),
        ("IQ1_M", 256, 56),
        ("IQ2_XXS", 256, 66),
        ("IQ2_XS", 256, 74),
        ("IQ2_S", 256, 82),
        ("IQ3_XXS", 256, 98),
        ("IQ3_S", 256, 110),
        ("IQ4_NL", 32, 18),
        ("IQ4_XS", 256, 136),
        ("TQ1_0", 256, 54),
        ("TQ2_0", 256, 66),
        ("Q1_0", 128, 18),
        ("Q2_0", 64, 18),
        ("MXFP4", 32, 17),
        ("NVFP4", 64, 36),
        ("IQ2_NL", 32, 10),
        ("IQ3_NL", 32, 14),
    )
}


def _symmetric(bits: int) -> Levels:
    half = 1 << (bits - 1)
    return Levels(32, -half, half - 1, StepFrom.EXTREME, -half, "F16", Ties.UP)


def _affine(bits: int) -> Levels:
    top = (1 << bits) - 1
    return Levels(32, 0, top, StepFrom.RANGE, top, "F16", Ties.UP)


# As quantize_row_*_ref of ggml/src/ggml-quants.c rounds without an importance matrix (llama-cpp-python
# 0.3.36). TQ1_0 and TQ2_0 differ only in how they are packed.
_LEVELS: dict[str, Rounding] = {
    **{name: FloatLevels(name) for name in ("F32", "F16", "BF16")},
    "Q8_0": Levels(32, -127, 127, StepFrom.MAGNITUDE, 127, "F16", Ties.AWAY),
    "Q4_0": _symmetric(4),
    "Q5_0": _symmetric(5),
    "Q4_1": _affine(4),
    "Q5_1": _affine(5),
    **dict.fromkeys(("TQ1_0", "TQ2_0"), Levels(256, -1, 1, StepFrom.MAGNITUDE, 1, "F16", Ties.AWAY)),
    **dict.fromkeys(("IQ4_NL", "IQ4_XS", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"), SearchedScales()),
}
_NOT_MODELLED = NotModelled("ggml's search for its codebook entries is not reproduced")
