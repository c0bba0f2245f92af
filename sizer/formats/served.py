"""FP8, int8 and NVFP4 as checkpoints for servers hold them: a linear layer's numbers and their scales.

Sources: transformers 5.23 (integrations/finegrained_fp8.py, fbgemm_fp8.py), compressed-tensors 0.12
(compressors/quantized_compressors: naive_quantized, nvfp4_quantized). Linear layers of the blocks only:
embedding, head and norms stay BF16.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.groups import BF16, StoredPart, parts_bytes
from sizer.formats.levels import NotModelled
from sizer.formats.recipe import Recipe, by_name
from sizer.tensors import TensorSpec


class ScaledBlocks(NamedTuple):
    """Eight-bit numbers with a scale for each block of rows and columns (0: all of them)."""

    name: str
    dtype: str
    rows: int
    columns: int
    scale: str = "BF16"

    @property
    def levels(self) -> NotModelled:
        """None: scales of whole rows and blocks are chosen by each tool."""
        return NotModelled("tools choose the scales of rows and blocks differently")

    def fits(self, row_length: int) -> bool:
        """Return True: the last block of a row may be part empty."""
        return True

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the numbers and the scales of one linear layer."""
        rows, columns = spec.num_elements // spec.row_length, spec.row_length
        blocks = (-(-rows // (self.rows or rows)), -(-columns // (self.columns or columns)))
        return (
            StoredPart(spec.name, self.dtype, (rows, columns)),
            StoredPart(f"{spec.name}_scale", self.scale, blocks),
        )

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return parts_bytes(self.parts(spec))


class NvFp4(NamedTuple):
    """Two four-bit floats a byte, an eight-bit scale for 16 of them, and two scales for the whole layer."""

    name: str = "NVFP4"
    group: int = 16

    @property
    def levels(self) -> NotModelled:
        """None: the scale of the whole is chosen by calibration texts."""
        return NotModelled("calibration texts choose the scale of the whole")

    def fits(self, row_length: int) -> bool:
        """Return True if a row divides into groups."""
        return row_length % self.group == 0

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the arrays of one linear layer."""
        rows, columns = spec.num_elements // spec.row_length, spec.row_length
        base = spec.name.removesuffix("weight")
        return (
            StoredPart(f"{base}weight_packed", "U8", (rows, columns // 2)),
            StoredPart(f"{base}weight_scale", "F8_E4M3", (rows, columns // self.group)),
            StoredPart(f"{base}weight_global_scale", "F32", (1,)),
            StoredPart(f"{base}input_global_scale", "F32", (1,)),
        )

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return parts_bytes(self.parts(spec))


def _recipe(name: str, bits: int, kind: ScaledBlocks | NvFp4, about: str) -> Recipe:
    return Recipe(name, bits, kind, BF16, BF16, BF16, f"linear layers {about}; the rest BF16")


RECIPES = by_name(
    (
        _recipe("fp8", 8, ScaledBlocks("FP8", "F8_E4M3", 0, 0), "FP8 with one scale each"),
        _recipe("fp8-channel", 8, ScaledBlocks("FP8 rows", "F8_E4M3", 1, 0), "FP8 with a scale a row"),
        _recipe(
            "fp8-block128",
            8,
            ScaledBlocks("FP8 blocks", "F8_E4M3", 128, 128, "F32"),
            "FP8 with a scale for each 128 x 128",
        ),
        _recipe("int8-channel", 8, ScaledBlocks("INT8 rows", "I8", 1, 0), "int8 with a scale a row"),
        _recipe("nvfp4", 4, NvFp4(), "NVFP4 in groups of 16"),
    )
)
