"""MXFP4 as gpt-oss's checkpoints hold their experts: blocks of 32 weights of 4 bits with a scale of one byte.

Sources: OCP Microscaling Formats 1.0, section 5.3 (FP4 E2M1 elements, E8M0 scales, blocks of 32);
transformers' integrations/mxfp4.py (`*_blocks`, `*_scales`). Everything but the experts stays at 16 bits.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.groups import BF16, StoredPart, parts_bytes
from sizer.formats.levels import NotModelled
from sizer.formats.recipe import Recipe, by_name
from sizer.tensors import TensorSpec

BLOCK = 32


class MicroscaledBlocks(NamedTuple):
    """Blocks along a row: two weights a byte, and the scales apart."""

    name: str = "mxfp4"

    @property
    def levels(self) -> NotModelled:
        """Return the reason why models cannot be scored: rounding to its floats is not modelled."""
        return NotModelled("microscaling floats are not reproduced")

    def fits(self, row_length: int) -> bool:
        """Return True if rows of this length divide into blocks."""
        return row_length % BLOCK == 0

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the packed weights and their scales."""
        *rows, row_length = spec.shape
        base, blocks = spec.name.removesuffix(".weight"), row_length // BLOCK
        return (
            StoredPart(f"{base}_blocks", "U8", (*rows, blocks, BLOCK // 2)),
            StoredPart(f"{base}_scales", "U8", (*rows, blocks)),
        )

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return parts_bytes(self.parts(spec))


RECIPES = by_name(
    [
        Recipe(
            "mxfp4",
            4,
            MicroscaledBlocks(),
            BF16,
            BF16,
            BF16,
            "experts in blocks of 32 with a byte of scale, the rest BF16 (gpt-oss)",
            experts_only=True,
        )
    ]
)
