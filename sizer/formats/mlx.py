"""MLX's weight formats: affine groups and microscaling floats, as mlx-lm's `convert` writes them.

Source: mlx.core.quantize and mlx-lm's utils.quantize_model (mlx 0.32, mlx-lm 0.32): every matrix and the
embedding whose row divides into groups; packed into 32-bit words, with a scale and a bias of the model's own
type for each group. Compared with files that mlx-lm wrote.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.groups import BF16, StoredPart, parts_bytes
from sizer.formats.levels import Levels, NotModelled, Rounding, StepFrom
from sizer.formats.recipe import PLAIN, Recipe, by_name
from sizer.tensors import TensorSpec

_WORD_BITS = 32


class MlxGroups(NamedTuple):
    """Groups along a row, packed into 32-bit words; floats have one byte of scale and no bias."""

    name: str
    bits: int
    group: int
    is_float: bool = False

    @property
    def levels(self) -> Rounding:
        """Whole numbers times a scale plus a bias.

        Levels are found in float32, as on a GPU (affine_quantize of mlx/backend/metal/kernels/quantized.h).
        """
        if self.is_float:
            return NotModelled("microscaling floats are not reproduced")
        top = (1 << self.bits) - 1
        return Levels(self.group, 0, top, StepFrom.EDGE, top, "BF16", least_step=1e-7)

    def fits(self, row_length: int) -> bool:
        """Return True if rows of this length divide into groups; mlx-lm leaves others alone."""
        return row_length % self.group == 0

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the words of weights, scales, and the biases of affine groups."""
        *rows, row_length = spec.shape
        base = spec.name.removesuffix("weight")
        groups = (*rows, row_length // self.group)
        words = StoredPart(spec.name, "U32", (*rows, row_length * self.bits // _WORD_BITS))
        if self.is_float:
            return words, StoredPart(f"{base}scales", "U8", groups)
        return words, StoredPart(f"{base}scales", "BF16", groups), StoredPart(f"{base}biases", "BF16", groups)

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return parts_bytes(self.parts(spec))


# Defaults of mlx.core.quantize: group 64, other groups 32 and 128. One bit is of PrismML's MLX, groups of 128
# (ml-explore/mlx#3478), which Bonsai's files need.
_AFFINE = [
    MlxGroups(f"{bits}bit" if group == 64 else f"{bits}bit-g{group}", bits, group)
    for bits in (2, 3, 4, 5, 6, 8)
    for group in (64, 32, 128)
]
_AFFINE.append(MlxGroups("1bit-g128", 1, 128))
_FLOATS = [
    MlxGroups("mxfp4", 4, 32, True),
    MlxGroups("nvfp4", 4, 16, True),
    MlxGroups("mxfp8", 8, 32, True),
]

RECIPES = by_name(
    [
        *(
            Recipe(
                t.name, t.bits, t, t, t, BF16,
                f"matrices, embedding and head in groups of {t.group}, the rest BF16 (mlx.core.quantize)",
            )
            for t in (*_AFFINE, *_FLOATS)
        ),
        *PLAIN,
    ]
)  # fmt: skip
