"""GPTQ's and AWQ's group layouts: packed integers, scales and zero points, transposed.

Sources: GPTQModel 7.7 (nn_modules/qlinear, qweight qzeros scales g_idx), AutoAWQ 0.2.9
(modules/linear/gemm.py). Linear layers of the blocks only: embedding, head and norms stay 16-bit.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.groups import F16, StoredPart, parts_bytes
from sizer.formats.levels import NotModelled
from sizer.formats.recipe import Recipe, by_name
from sizer.tensors import TensorSpec

_WORD_BITS = 32


class PackedInt(NamedTuple):
    """Weights packed into 32-bit words with 16-bit scales and packed zero points for each group of inputs.

    GPTQ packs along the inputs and keeps the group of every input (`g_idx`); AWQ packs along the outputs.
    """

    name: str
    bits: int
    group: int
    is_awq: bool

    @property
    def levels(self) -> NotModelled:
        """None: calibration texts decide."""
        return NotModelled("GPTQ and AWQ choose levels by what calibration texts make of them")

    def fits(self, row_length: int) -> bool:
        """Return True if the inputs divide into groups (and so into words)."""
        return row_length % self.group == 0

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the arrays of one linear layer, `[in_features, out_features]`."""
        base = spec.name.removesuffix("weight")
        rows, columns = spec.num_elements // spec.row_length, spec.row_length
        groups, packed_rows = columns // self.group, -(-rows * self.bits // _WORD_BITS)
        weights = (columns, packed_rows) if self.is_awq else (columns * self.bits // _WORD_BITS, rows)
        parts = (
            StoredPart(f"{base}qweight", "I32", weights),
            StoredPart(f"{base}qzeros", "I32", (groups, packed_rows)),
            StoredPart(f"{base}scales", "F16", (groups, rows)),
        )
        return parts if self.is_awq else (*parts, StoredPart(f"{base}g_idx", "I32", (columns,)))

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return parts_bytes(self.parts(spec))


def _recipe(bits: int, group: int, *, is_awq: bool) -> Recipe:
    kind = "awq" if is_awq else "gptq"
    name = f"{kind}-{bits}bit-g{group}"
    about = f"linear layers {kind.upper()} in groups of {group}; embedding, head and the rest F16"
    return Recipe(name, bits, PackedInt(name.upper(), bits, group, is_awq), F16, F16, F16, about)


RECIPES = by_name(
    (
        *(_recipe(bits, group, is_awq=False) for bits in (2, 3, 4, 8) for group in (128, 64, 32)),
        *(_recipe(4, group, is_awq=True) for group in (128, 64, 32)),
    )
)
