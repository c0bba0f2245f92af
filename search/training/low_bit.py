"""Training for types of few bits: products use the weights as stored, gradients move the exact ones.

Rounding a trained model to ternary or 2-bit weights afterwards ruins it, so its last steps are trained with
rounded weights in every product (straight-through: the gradient of the rounded weight moves the exact one).
What is deployed is the rounded values, which the runtime's own quantizer must then give back as they are:

- TQ1_0, TQ2_0: -1, 0 or 1 times a scale of each block of 256. ggml's quantizer takes the block's largest
  magnitude for the scale, which rounds all but the largest weights to 0; it keeps values that are ternary
  already, whatever their scale. So training takes the mean magnitude (BitNet b1.58), in half precision, and
  the file is made of the rounded values, as those of published ternary models are.
- I2_S, TL1, TL2: the same with one scale for a tensor, and activations rounded to 8 bits, as bitnet.cpp does.
- Q2_K: the levels of ggml's own grid. Finding it takes long, so it is repeated every GRID_STEPS steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from search.training.decoder import Decoder
from search.training.k_quants import q2_k_grid, q2_k_levels
from search.training.quantize import fake_quantize, stored_types
from search.training.rounding import as_half, inverse
from sizer.architecture import Architecture
from sizer.formats.ggml import TYPES
from sizer.formats.levels import Levels
from sizer.formats.stored import StorageType
from sizer.tensors import tensor_specs

# Matrices of types with no more bits per weight than this, scales included, are trained rounded: the types
# below 3 bits (Q2_K 2.625, TQ2_0 2.06, TQ1_0 1.69, I2_S 2, TL2 1.67).
MOST_BITS = 2.7

GRID_STEPS = 16
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


def few_bit_types(architecture: Architecture, format_name: str, runtime: str) -> dict[str, StorageType]:
    """Return types of an architecture's matrices that a format stores in few bits."""
    types = stored_types(architecture, format_name, runtime)
    return {
        spec.name: types[spec.name]
        for spec in tensor_specs(architecture)
        if spec.layer is not None
        and len(spec.shape) > 1
        and 8 * types[spec.name].tensor_bytes(spec) / spec.num_elements <= MOST_BITS
    }


@lru_cache(maxsize=64)
def any_few_bits(format_names: tuple[str, ...], runtime: str) -> bool:
    """Return whether any of a runtime's formats has matrices of few bits where rows are long enough."""
    return any(few_bit_types(_PROBE, name, runtime) for name in format_names)


def ternary_blocks(weight: Tensor) -> Tensor:
    """Return -1, 0 or 1 times the mean magnitude of each block of 256, as TQ1_0 and TQ2_0 store it."""
    blocks = weight.reshape(-1, _BLOCK)
    scale = as_half(blocks.abs().mean(-1, keepdim=True))
    return ((blocks * inverse(scale)).round_().clamp_(-1, 1) * scale).view(weight.shape)


class LowBit:
    """Rounded values of a model's few-bit matrices while it trains, and when it is done."""

    def __init__(self, types: Mapping[str, StorageType]) -> None:
        self._types = dict(types)
        self.grids: dict[str, Tensor] = {}  # Q2_K's steps and shifts, `[2, super_blocks, 16, 1]`

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the matrices."""
        return tuple(self._types)

    def int8_input(self, name: str) -> bool:
        """Return True if the activations that a matrix meets are rounded to 8 bits."""
        levels = self._levels(name)
        return levels is not None and levels.activations is not None

    def rounded(self, name: str, weight: Tensor, number: int) -> Tensor:
        """Return what a step (from 1) multiplies with in place of a matrix, float32."""
        weight, levels = weight.detach(), self._levels(name)
        if levels is not None:
            return (
                ternary_blocks(weight)
                if levels.group == _BLOCK
                else fake_quantize(weight, self._types[name], across_rows=True)
            )
        assert self._types[name] == TYPES["Q2_K"], self._types[name]
        blocks = weight.reshape(-1, _BLOCK)
        if name not in self.grids or number % GRID_STEPS == 0:
            # found on the processor, whose rounding is ggml's
            self.grids[name] = torch.stack(q2_k_grid(blocks.cpu())).to(blocks.device)
        return q2_k_levels(blocks, *self.grids[name]).view(weight.shape)

    def _levels(self, name: str) -> Levels | None:
        """Return the levels of a ternary matrix; None for the others."""
        kind = self._types.get(name)
        return kind.levels if kind is not None and isinstance(kind.levels, Levels) else None

    def apply_quantization(self, model: Decoder) -> None:
        """Make the weights those that a file is made of, and the model one that runs as deployed."""
        for name, matrix in model.matrices.items():
            matrix.int8_input = self.int8_input(name)
            levels = self._levels(name)
            if levels is not None and levels.group == _BLOCK:
                with torch.no_grad():
                    matrix.weight.copy_(ternary_blocks(matrix.weight))
