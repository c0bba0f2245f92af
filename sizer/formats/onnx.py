"""ONNX weight formats as transformers.js loads them (its `dtype`): floats, 8-bit tensors, 4-bit blocks.

Source: onnxruntime's MatMulNBits (weights `[N, ceil(K / block), block * bits / 8]`, scales of the model's
float type `[N, ceil(K / block)]`) as its MatMulNBitsQuantizer writes them, symmetric, blocks of 32. An
embedding is a Gather and stays float; an exported decoder holds a tied table twice, for Gather and for the
head (published files of SmolLM2-135M: 654 MB fp32, 327 fp16, 200 q4, 134 q4f16). 8-bit files are made by
dynamic quantization (transformers.js before 4e1b4b65, scripts/quantize.py: ONNXQuantizer with IntegerOps, not
per channel): every matrix and the embedding, a byte a weight, with one scale and zero point for each tensor;
`q8` is `int8`, or `uint8` where the graph has operators that want it. bnb4: MatMulBnb4Quantizer, NF4 in
blocks of 64 over the flattened matrix with 32-bit scales.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.groups import F16, F32, Plain, RowGroups
from sizer.formats.levels import NF4_LEVELS, Levels, NotModelled, Rounding, StepFrom, Ties
from sizer.formats.recipe import Recipe, by_name
from sizer.tensors import TensorSpec

BLOCK = 32
_BNB4_BLOCK = 64


class WholeTensor(NamedTuple):
    """A byte a weight, one 32-bit scale and one zero point for the whole tensor."""

    name: str
    levels: Rounding = NotModelled("activations are rounded with one scale for all tokens of a call")

    def fits(self, row_length: int) -> bool:
        """Return True: rows of any length."""
        return True

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor: weights, scale, zero point."""
        return spec.num_elements + 4 + 1


class FlatBlocks(NamedTuple):
    """MatMulBnb4: half a byte a weight, a 32-bit scale for each block of the flattened matrix."""

    name: str = "MatMulBnb4"
    levels: Rounding = Levels(
        _BNB4_BLOCK, 0, 15, StepFrom.MAGNITUDE, 1, across_rows=True, codebook=NF4_LEVELS
    )

    def fits(self, row_length: int) -> bool:
        """Return True: blocks run over the ends of rows."""
        return True

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor: weights and scales."""
        return -(-spec.num_elements // 2) + 4 * -(-spec.num_elements // _BNB4_BLOCK)


def _eight_bits(name: str, kind: WholeTensor) -> Recipe:
    about = "matrices, head and embedding a byte a weight with a scale a tensor, the rest F32 (IntegerOps)"
    return Recipe(name, 8, kind, kind, kind, F32, about, unties=True)


def _recipe(name: str, bits: int, floats: Plain, scale_bytes: int) -> Recipe:
    half = 1 << (bits - 1)
    levels = Levels(BLOCK, -half, half - 1, StepFrom.EXTREME, -half, floats.name, Ties.AWAY, padded=True)
    kind = RowGroups(
        f"MatMulNBits {bits}-bit {floats.name}", bits, BLOCK, scale_bytes, padded=True, levels=levels
    )
    about = f"matrices and head in blocks of {BLOCK}, embedding and the rest {floats.name} (MatMulNBits)"
    return Recipe(name, bits, kind, floats, kind, floats, about, unties=True)


_INT8, _UINT8, _BNB4 = WholeTensor("int8 tensor"), WholeTensor("uint8 tensor"), FlatBlocks()

RECIPES = by_name(
    (
        _recipe("q4f16", 4, F16, 2),
        _recipe("q4", 4, F32, 4),
        Recipe(
            "bnb4", 4, _BNB4, F32, _BNB4, F32,
            "matrices and head NF4 in blocks of 64, embedding and the rest F32 (MatMulBnb4)", unties=True,
        ),
        _eight_bits("q8", _INT8),
        _eight_bits("int8", _INT8),
        _eight_bits("uint8", _UINT8),
        Recipe("fp16", 16, F16, F16, F16, F16, "every tensor F16", unties=True),
        Recipe("fp32", 32, F32, F32, F32, F32, "every tensor F32", unties=True),
    )
)  # fmt: skip

# Not a dtype of transformers.js, but stored studies have it: 8-bit blocks in a 16-bit graph
UNLISTED = by_name((_recipe("q8f16", 8, F16, 2),))
