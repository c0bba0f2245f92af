"""Training for types of few bits: products use the weights as stored, gradients move the exact ones.

Rounding a trained model to ternary or 2-bit weights afterwards ruins it, so its last steps are trained with
rounded weights in every product (straight-through: the gradient of the rounded weight moves the exact one).
What is deployed is the rounded values, which the runtime's own quantizer must then give back as they are:

- TQ1_0, TQ2_0: -1, 0 or 1 times a scale of each block of 256. ggml's quantizer takes the block's largest
  magnitude for the scale, which rounds all but the largest weights to 0; it keeps values that are ternary
  already, whatever their scale. So training takes the mean magnitude (BitNet b1.58), in half precision, and
  the file is made of the rounded values, as those of published ternary models are.
- I2_S, TL1, TL2: the same with one scale for a tensor, and activations rounded to 8 bits, as bitnet.cpp does.
- Q2_K: the levels of ggml's own grid. Finding it takes long, so it is found anew every GRID_STEPS steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from search.proxy.k_quants import q2_k_grid, q2_k_levels
from search.proxy.model import Decoder
from search.proxy.quantize import WHOLE_TENSOR, absmean_ternary, stored_types
from search.proxy.rounding import as_half, inverse
from sizer.architecture import Architecture
from sizer.tensors import tensor_specs

# Matrices of types with no more bits per weight than this, scales included, are trained rounded: the types
# below 3 bits (Q2_K 2.625, TQ2_0 2.06, TQ1_0 1.69, I2_S 2, TL2 1.67).
MOST_BITS = 2.7

GRID_STEPS = 16
_TERNARY_BLOCKS = ("TQ1_0", "TQ2_0")
_BLOCK = 256
_PROBE = Architecture(
    vocab_size=256,
    num_layers=4,
    hidden_size=512,
    intermediate_size=512,
    num_heads=8,
    num_kv_heads=8,
    head_dim=64,
)


def few_bit_types(architecture: Architecture, format_name: str, runtime: str) -> dict[str, str]:
    """Type names of the matrices of an architecture that a format stores in so few bits that they need it."""
    types = stored_types(architecture, format_name, runtime)
    return {
        spec.name: types[spec.name].name
        for spec in tensor_specs(architecture)
        if spec.layer is not None
        and len(spec.shape) > 1
        and 8 * types[spec.name].tensor_bytes(spec) / spec.num_elements <= MOST_BITS
    }


@lru_cache(maxsize=64)
def any_few_bits(format_names: tuple[str, ...], runtime: str) -> bool:
    """Whether any of a runtime's formats has matrices of few bits where rows are long enough for it."""
    return any(few_bit_types(_PROBE, name, runtime) for name in format_names)


def ternary_blocks(weight: Tensor) -> Tensor:
    """-1, 0 or 1 times the mean magnitude of each block of 256, which TQ1_0 and TQ2_0 store as it is."""
    blocks = weight.reshape(-1, _BLOCK)
    scale = as_half(blocks.abs().mean(-1, keepdim=True))
    return ((blocks * inverse(scale)).round_().clamp_(-1, 1) * scale).view(weight.shape)


class FewBits:
    """Rounded values of a model's few-bit matrices while it trains, and when it is done."""

    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = dict(types)
        self.grids: dict[str, Tensor] = {}  # Q2_K's steps and shifts, `[2, super_blocks, 16, 1]`

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the matrices."""
        return tuple(self._types)

    def int8_input(self, name: str) -> bool:
        """Whether the activations that a matrix meets are rounded to 8 bits."""
        return self._types.get(name) in WHOLE_TENSOR

    def rounded(self, name: str, weight: Tensor, number: int) -> Tensor:
        """What a step (from 1) multiplies with in place of a matrix, float32."""
        weight, kind = weight.detach(), self._types[name]
        if kind in _TERNARY_BLOCKS:
            return ternary_blocks(weight)
        if kind in WHOLE_TENSOR:
            return absmean_ternary(weight.reshape(1, -1)).view(weight.shape)
        assert kind == "Q2_K", kind
        blocks = weight.reshape(-1, _BLOCK)
        if name not in self.grids or number % GRID_STEPS == 0:
            # found on the processor, whose rounding is ggml's
            self.grids[name] = torch.stack(q2_k_grid(blocks.cpu())).to(blocks.device)
        return q2_k_levels(blocks, *self.grids[name]).view(weight.shape)

    def settle(self, model: Decoder) -> None:
        """Make the weights those that a file is made of, and the model one that runs as deployed."""
        for name, matrix in model.matrices.items():
            matrix.int8_input = self.int8_input(name)
            if self._types.get(name) in _TERNARY_BLOCKS:
                with torch.no_grad():
                    matrix.weight.copy_(ternary_blocks(matrix.weight))
