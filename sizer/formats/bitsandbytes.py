"""bitsandbytes' weight formats: 4-bit floats in blocks of 64 with and without double quantization, LLM.int8.

Sources: QLoRA (arXiv 2305.14314, section 3: blocks of 64, constants again in blocks of 256), LLM.int8
(arXiv 2208.07339: one scale a row), and the arrays bitsandbytes 0.50 writes (functional.QuantState.as_dict,
nn.Linear8bitLt), as transformers saves them. Linear layers only: embedding, head and norms stay 16-bit.
"""

from __future__ import annotations

from typing import NamedTuple

from sizer.formats.groups import BF16, StoredPart, parts_bytes
from sizer.formats.levels import FP4_LEVELS, NF4_LEVELS, Levels, NotModelled, StepFrom, dynamic_levels
from sizer.formats.recipe import Recipe, by_name
from sizer.tensors import TensorSpec

BLOCK = 64
NESTED_BLOCK = 256
_LEVELS = 16
_NESTED_LEVELS = 256


class FourBit(NamedTuple):
    """Blocks of 64 weights over the flattened tensor with a scale each; nested: scales quantized as well."""

    name: str
    kind: str
    nested: bool

    @property
    def levels(self) -> Levels:
        """16 numbers of the type times the block's largest magnitude (functional.quantize_4bit)."""
        return _LEVELS_OF[self.kind, self.nested]

    def fits(self, row_length: int) -> bool:
        """Return the any row: blocks run on over rows."""
        return True

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return packed weights, scales, levels, and the description bitsandbytes keeps as bytes of JSON."""
        blocks = -(-spec.num_elements // BLOCK)
        described = f'{{"quant_type": "{self.kind}", "blocksize": {BLOCK}, "dtype": "bfloat16", '
        described += f'"shape": {list(spec.shape)}'
        state = f"{spec.name}.quant_state.bitsandbytes__{self.kind}"
        common = (
            StoredPart(spec.name, "U8", (-(-spec.num_elements // 2), 1)),
            StoredPart(f"{spec.name}.absmax", "U8" if self.nested else "F32", (blocks,)),
            StoredPart(f"{spec.name}.quant_map", "F32", (_LEVELS,)),
        )
        if not self.nested:
            return *common, StoredPart(state, "U8", (len(described) + 1,))
        # the offset is a float printed in full: up to 20 characters
        nested = f', "nested_blocksize": {NESTED_BLOCK}, "nested_dtype": "float32", "nested_offset": '
        return (
            *common,
            StoredPart(f"{spec.name}.nested_absmax", "F32", (-(-blocks // NESTED_BLOCK),)),
            StoredPart(f"{spec.name}.nested_quant_map", "F32", (_NESTED_LEVELS,)),
            StoredPart(state, "U8", (len(described) + len(nested) + 20 + 1,)),
        )

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return parts_bytes(self.parts(spec))


# Scales of double quantization, less their mean: blocks of 256 in bitsandbytes' 8-bit dynamic map.
_NESTED = Levels(NESTED_BLOCK, 0, 255, StepFrom.MAGNITUDE, 1, across_rows=True, codebook=dynamic_levels())
_LEVELS_OF = {
    (kind, nested): Levels(
        BLOCK,
        0,
        15,
        StepFrom.MAGNITUDE,
        1,
        across_rows=True,
        codebook=codebook,
        step_levels=_NESTED if nested else None,
    )
    for kind, codebook in (("nf4", NF4_LEVELS), ("fp4", FP4_LEVELS))
    for nested in (False, True)
}


class RowInt8(NamedTuple):
    """LLM.int8: a byte a weight, a float32 scale a row, and a byte that states the layout."""

    name: str = "LLM.int8"

    @property
    def levels(self) -> NotModelled:
        """None: which weights are rounded depends on the text."""
        return NotModelled(
            "it keeps weights that meet outlying activations in 16 bits, other ones for each text"
        )

    def fits(self, row_length: int) -> bool:
        """Return the any row."""
        return True

    def parts(self, spec: TensorSpec) -> tuple[StoredPart, ...]:
        """Return the weights, scales (SCB), layout."""
        base = spec.name.removesuffix("weight")
        rows = spec.num_elements // spec.row_length
        return (
            StoredPart(spec.name, "I8", spec.shape),
            StoredPart(f"{base}SCB", "F32", (rows,)),
            StoredPart(f"{base}weight_format", "U8", ()),
        )

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor."""
        return parts_bytes(self.parts(spec))


_ABOUT = "linear layers {}; embedding, head and the rest BF16 (bitsandbytes)"

NF4, NF4_DQ, FP4 = FourBit("NF4", "nf4", False), FourBit("NF4-DQ", "nf4", True), FourBit("FP4", "fp4", False)

RECIPES = by_name(
    (
        Recipe("nf4-dq", 4, NF4_DQ, BF16, BF16, BF16, _ABOUT.format("NF4, double quantization (QLoRA)")),
        Recipe("nf4", 4, NF4, BF16, BF16, BF16, _ABOUT.format("NF4")),
        Recipe("fp4", 4, FP4, BF16, BF16, BF16, _ABOUT.format("FP4")),
        Recipe("llm.int8", 8, RowInt8(), BF16, BF16, BF16, _ABOUT.format("LLM.int8")),
    )
)
