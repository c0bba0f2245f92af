"""MLC's weight formats, which WebLLM loads: groups of 32 or 40 weights packed into 32-bit words.

Source: github mlc-ai/mlc-llm at 79d603f0, python/mlc_llm/quantization/{quantization,group_quantization}.py:
symmetric, a scale of the model's float type for each group, embedding and head quantized like the rest
(q4f16_2 keeps both float). Rows are padded to whole groups.
"""

from __future__ import annotations

from sizer.formats.groups import F16, F32, Plain, RowGroups
from sizer.formats.levels import Levels, StepFrom, Ties
from sizer.formats.recipe import Recipe, by_name


def _recipe(name: str, kind: RowGroups, floats: Plain, *, tables: bool = True) -> Recipe:
    what = "matrices, embedding and head" if tables else "matrices"
    about = f"{what} in groups of {kind.group}, the rest {floats.name}"
    table = kind if tables else floats
    return Recipe(name, kind.bits, kind, table, table, floats, f"{about} (mlc-llm group quantization)")


def _levels(bits: int, group: int, dtype: str) -> Levels:
    """Return levels of GroupQuantize._quantize: as many below zero as above, the largest magnitude last."""
    top = (1 << (bits - 1)) - 1
    return Levels(
        group, -top, top, StepFrom.MAGNITUDE, top, dtype, Ties.AWAY, uses_stored_step=True, padded=True
    )


def _int4(scale_bytes: int) -> RowGroups:
    dtype = f"F{8 * scale_bytes}"
    return RowGroups(f"int4 g32 {dtype}", 4, 32, scale_bytes, padded=True, levels=_levels(4, 32, dtype))


# Ten weights to a 32-bit word: a group takes 16 bytes of weights, one more than its bits, and a 2-byte scale.
_INT3 = RowGroups("int3 g40 F16", 3, 40, 2 + 1, padded=True, levels=_levels(3, 40, "F16"))

RECIPES = by_name(
    (
        _recipe("q4f16_1", _int4(2), F16),
        _recipe("q4f16_2", _int4(2), F16, tables=False),
        _recipe("q4f32_1", _int4(4), F32),
        _recipe("q3f16_1", _INT3, F16),
        Recipe("q0f16", 16, F16, F16, F16, F16, "every tensor F16"),
        Recipe("q0f32", 32, F32, F32, F32, F32, "every tensor F32"),
    )
)
