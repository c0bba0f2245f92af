"""A projection of the decoder, and several of one input as a single product."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search.training.straight_through import int8_rows, straight_through


class Linear(nn.Module):
    """A projection's weight `[out, in]` and maybe bias; zeros until initialised or loaded."""

    def __init__(self, columns: int, rows: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, columns))
        self.quantized_weight: Tensor | None = None  # multiplied with instead of the weight
        self.int8_input = False  # whether each row of the input is rounded to 8 bits
        self.round_rows: Callable[[Tensor], Tensor] = int8_rows
        self.bias: nn.Parameter | None
        self.register_parameter("bias", nn.Parameter(torch.zeros(rows)) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply in the activations' type."""
        return product(x, self)


def product(x: Tensor, *matrices: Linear) -> Tensor:
    """Compute several projections of one input as a single product: thin models are bound by the calls."""
    weights = [
        m.weight if m.quantized_weight is None else straight_through(m.weight, m.quantized_weight)
        for m in matrices
    ]
    if matrices[0].int8_input:
        x = straight_through(x, matrices[0].round_rows(x.detach()))
    weight = torch.cat(weights) if len(weights) > 1 else weights[0]
    biases: list[Tensor] = [m.bias for m in matrices if m.bias is not None]
    return F.linear(x, weight.to(x.dtype), torch.cat(biases).to(x.dtype) if biases else None)
