"""A projection of the decoder, of all tokens or by experts, and several of one input as a single product."""

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

    @property
    def multiplied(self) -> Tensor:
        """Return what a product multiplies with; a rounded weight's gradient goes to the exact one."""
        if self.quantized_weight is None:
            return self.weight
        return straight_through(self.weight, self.quantized_weight)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply in the activations' type."""
        return product(x, self)


class ExpertMatrices(Linear):
    """One kind of matrix of every expert of a layer, `[experts, out, in]`, as GGUF files hold them."""

    def __init__(self, experts: int, columns: int, rows: int) -> None:
        super().__init__(columns, rows, bias=False)
        self.weight = nn.Parameter(torch.zeros(experts, rows, columns))


def product(x: Tensor, *matrices: Linear) -> Tensor:
    """Compute several projections of one input as a single product: thin models are bound by the calls."""
    weights = [m.multiplied for m in matrices]
    x = _rounded_input(x, matrices[0])
    weight = torch.cat(weights) if len(weights) > 1 else weights[0]
    biases: list[Tensor] = [m.bias for m in matrices if m.bias is not None]
    return F.linear(x, weight.to(x.dtype), torch.cat(biases).to(x.dtype) if biases else None)


def expert_products(x: Tensor, counts: list[int], *matrices: ExpertMatrices) -> Tensor:
    """Multiply rows `[rows, in]`, in the order of their experts, with the matrices of each one's expert.

    Several kinds of matrices give their results next to each other.
    """
    weights = [m.multiplied for m in matrices]
    weight = torch.cat(weights, dim=1) if len(weights) > 1 else weights[0]
    # unbound, so that the gradients of all experts are put together once
    experts = weight.to(x.dtype).unbind(0)
    rows = torch.split(_rounded_input(x, matrices[0]), counts)
    return torch.cat([F.linear(some, one) for some, one in zip(rows, experts, strict=True)])


def _rounded_input(x: Tensor, matrix: Linear) -> Tensor:
    return straight_through(x, matrix.round_rows(x.detach())) if matrix.int8_input else x
