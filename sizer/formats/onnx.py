"""ONNX weight formats as transformers.js loads them: plain floats, and matrices in 4- or 8-bit blocks.

Source: onnxruntime's MatMulNBits (weights `[N, ceil(K / block), block * bits / 8]`, scales of the model's
float type `[N, ceil(K / block)]`) as its MatMulNBitsQuantizer writes them, symmetric, blocks of 32. An
embedding is a Gather and stays float; an exported decoder holds a tied table twice, for Gather and for the
head (published files of SmolLM2-135M: 654 MB fp32, 327 fp16, 200 q4, 134 q4f16).
"""

from __future__ import annotations

from sizer.formats.groups import F16, F32, Plain, RowGroups
from sizer.formats.recipe import Recipe, by_name

BLOCK = 32


def _recipe(name: str, bits: int, floats: Plain, scale_bytes: int) -> Recipe:
    kind = RowGroups(f"MatMulNBits {bits}-bit {floats.name}", bits, BLOCK, scale_bytes, padded=True)
    about = f"matrices and head in blocks of {BLOCK}, embedding and the rest {floats.name} (MatMulNBits)"
    return Recipe(name, bits, kind, floats, kind, floats, about, unties=True)


RECIPES = by_name(
    (
        _recipe("q4f16", 4, F16, 2),
        _recipe("q4", 4, F32, 4),
        _recipe("q8f16", 8, F16, 2),
        Recipe("fp16", 16, F16, F16, F16, F16, "every tensor F16", unties=True),
        Recipe("fp32", 32, F32, F32, F32, F32, "every tensor F32", unties=True),
    )
)
