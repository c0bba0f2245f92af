"""torchao's weight-only formats, as `quantize_` leaves a model's linear layers (torchao 0.18).

Int8WeightOnlyConfig: a byte a weight, a 32-bit scale and an 8-bit zero point for each row.
Int4WeightOnlyConfig: two weights a byte, a 16-bit scale and zero point for each group. Embedding and norms
are not touched; a head with its own table is a linear layer like any other, a tied one keeps its type.
"""

from __future__ import annotations

from sizer.formats.groups import BF16, RowGroups
from sizer.formats.levels import NotModelled
from sizer.formats.recipe import Recipe, by_name

_NOT_MODELLED = NotModelled("torchao's rounding differs between devices and packings")

_INT8 = RowGroups("int8 rows", 8, 0, 4, zero_bits=8, levels=_NOT_MODELLED)


def _int4(group: int) -> Recipe:
    kind = RowGroups(f"int4 g{group}", 4, group, 2 + 2, levels=_NOT_MODELLED)
    about = f"linear layers int4 in groups of {group}, the rest BF16 (torchao Int4WeightOnlyConfig)"
    return Recipe(f"torchao-int4-g{group}", 4, kind, BF16, kind, BF16, about)


RECIPES = by_name(
    (
        *(_int4(group) for group in (128, 32, 64, 256)),
        Recipe(
            "torchao-int8", 8, _INT8, BF16, _INT8, BF16,
            "linear layers int8 with a scale a row, the rest BF16 (torchao Int8WeightOnlyConfig)",
        ),
    )
)  # fmt: skip
