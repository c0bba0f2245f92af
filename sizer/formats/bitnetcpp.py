"""bitnet.cpp's ternary formats in GGUF files: I2_S, TL1 and TL2, with 16-bit tables.

Source: github microsoft/BitNet at 16da220a: src/ggml-bitnet-mad.cpp (I2_S: a quarter of a byte a weight and
32 bytes for the tensor's scale), utils/convert-hf-to-gguf-bitnet.py (TL1: two weights in 4 bits; TL2: three
weights in 5 bits, but always room for 256 weights of each row in TL1, whatever the kernels leave over) and
ggml_nbytes of its llama.cpp (TL2 is padded to 32 bytes; a scale follows). The embedding, and a head of its
own, are F16; vectors F32.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.ggml import TYPES
from sizer.formats.levels import TENSOR, Activations, Levels, StepFrom
from sizer.formats.recipe import Recipe, by_name
from sizer.tensors import TensorSpec

_I2_S_BLOCK = 128
_SCALE_BYTES = 32
# Weights of a row that TL2 keeps room for as TL1 would store them.
_TL2_REST = 256


# weight_quant of utils/convert-hf-to-gguf-bitnet.py, which divides by no less than 1e-5, and
# quantize_row_i8_s of its ggml-quants.c for activations.
_LEVELS = Levels(TENSOR, -1, 1, StepFrom.MEAN, 1, least_step=1e-5, activations=Activations.SYMMETRIC_INT8)


class Ternary(NamedTuple):
    """Ternary weights with one scale for the tensor; `five_bits`: three of them in 5 bits, else two in 4."""

    name: str
    row_multiple: int
    five_bits: bool

    @property
    def levels(self) -> Levels:
        """-1, 0 or 1 times the mean magnitude; the types differ only in how they are packed."""
        return _LEVELS

    def fits(self, row_length: int) -> bool:
        """Return True if rows of this length can be packed."""
        return row_length % self.row_multiple == 0 and (not self.five_bits or row_length >= _TL2_REST)

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor, its scale included."""
        if not self.five_bits:
            return spec.num_elements // 4 + _SCALE_BYTES
        rows, row = spec.num_elements // spec.row_length, spec.row_length
        size = (row - _TL2_REST) * rows // 3 * 5 // 8 + _TL2_REST * rows // 2 * 4 // 8
        return size + -size % _SCALE_BYTES + _SCALE_BYTES


def _recipe(kind: Ternary, bits: float) -> Recipe:
    table = TYPES["F16"]
    about = f"matrices {kind.name}, embedding and head F16, the rest F32 (bitnet.cpp)"
    return Recipe(kind.name, bits, kind, table, table, TYPES["F32"], about, misfit=table)


RECIPES = by_name(
    (
        _recipe(Ternary("I2_S", _I2_S_BLOCK, False), 2),
        _recipe(Ternary("TL1", 2, False), 2),
        _recipe(Ternary("TL2", 2, True), 1.67),
    )
)
