"""HQQ's layout: groups along the inputs, packed down the rows of groups, with a scale and zero point each.

Source: hqq 0.2.8 (core/quantize.py HQQLinear.state_dict, core/bitpack.py BitPack), which transformers 5.23
saves as it is. Linear layers of the blocks only: embedding, head and norms stay BF16.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.groups import BF16, StoredPart, parts_bytes
from sizer.formats.levels import NotModelled
from sizer.formats.recipe import Recipe, by_name
from sizer.tensors import TensorSpec

# What a layer holds in addition: name, type and shape (texts are bytes: "4bit_u8", "torch.bfloat16").
_FACTS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    *((name, "I32", ()) for name in ("nbits", "group_size", "axis")),
    ("shape", "I64", (2,)),
    *(("packing", "U8", (7,)), ("unpack_view_dtype", "U8", (11,)), ("compute_dtype", "U8", (14,))),
    *((name, "U8", ()) for name in ("view_as_float", "quant_scale", "quant_zero", "offload_meta")),
    *((name, "U8", ()) for name in ("encoded_state_dict", "stores_quant_config", "channel_wise")),
    *((name, "U8", ()) for name in ("optimize", "round_zero")),
)
_PER_WORD = 10  # 3-bit weights in 32 bits


class HqqGroups(NamedTuple):
    """Weights in groups of inputs (0: the whole row): 8 // bits in a byte, or ten 3-bit ones in 32 bits."""

    name: str
    bits: int
    group: int

    @property
    def levels(self) -> NotModelled:
        """None: half-quadratic optimization moves the zero points."""
        return NotModelled("HQQ's optimization of zero points is not reproduced")

    def fits(self, row_length: int) -> bool:
        """Return True if the inputs divide into groups."""
        return self.group == 0 or row_length % self.group == 0

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the arrays of one linear layer."""
        base = spec.name.removesuffix("weight")
        group = self.group or spec.row_length
        groups = spec.num_elements // group
        words = ("I32", -(-groups // _PER_WORD)) if self.bits == 3 else ("U8", groups * self.bits // 8)
        return (
            StoredPart(f"{base}W_q", words[0], (words[1], group)),
            StoredPart(f"{base}scale", "BF16", (groups, 1)),
            StoredPart(f"{base}zero", "BF16", (groups, 1)),
            *(StoredPart(f"{base}{name}", dtype, shape) for name, dtype, shape in _FACTS),
        )

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return parts_bytes(self.parts(spec))


def recipe(bits: int, group: int) -> Recipe:
    """Return the format of that many bits in groups of that many inputs (0: whole rows)."""
    name = f"hqq-{bits}bit-g{group}"
    about = f"linear layers {bits} bits in {f'groups of {group}' if group else 'rows'}; the rest BF16 (HQQ)"
    return Recipe(name, bits, HqqGroups(name.upper(), bits, group), BF16, BF16, BF16, about)


BITS = (8, 4, 3, 2, 1)
RECIPES = by_name(recipe(bits, group) for bits in BITS for group in (64, 128, 32, 16))
