"""Rounding that gradients pass unchanged, and activations rounded to 8 bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Least magnitude an activation row is scaled by (ggml-quants.c of bitnet.cpp, quantize_row_i8_s).
_LEAST_MAGNITUDE = 1e-5

# Least step of affine rows (torchao, choose_qparams_affine: the epsilon of float32).
_LEAST_STEP = 2.0**-23


class _StraightThrough(torch.autograd.Function):
    """Forward one tensor, hand the gradient to another."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, rounded: Tensor) -> Tensor:
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    """Return the rounded values, whose gradient goes to the exact ones unchanged (arXiv 1308.3432)."""
    out: Tensor = _StraightThrough.apply(exact, rounded)  # type: ignore[no-untyped-call]
    return out


def int8_rows(x: Tensor) -> Tensor:
    """Return activations `[..., width]` as read back from 8 bits: each row's largest magnitude is 127 levels.

    quantize_row_i8_s of bitnet.cpp's ggml-quants.c, and activation_quant of BitNet b1.58's training code
    (arXiv 2402.17764 and its FAQ): halves to even, the same type as given.
    """
    exact = x.float()
    scale = 127 / exact.abs().amax(-1, keepdim=True).clamp(min=_LEAST_MAGNITUDE)
    return ((exact * scale).round_().clamp_(-128, 127) / scale).to(x.dtype)


def int8_affine_rows(x: Tensor) -> Tensor:
    """Return activations `[..., width]` as read back from 256 levels between each row's ends.

    XNNPACK's dynamic rows, as torchao's per-token asymmetric mapping: the range always holds 0, which is one
    of the levels; halves go to even. The same type as given.
    """
    exact = x.float()
    low, high = exact.amin(-1, keepdim=True).clamp(max=0), exact.amax(-1, keepdim=True).clamp(min=0)
    step = ((high - low) / 255).clamp(min=_LEAST_STEP)
    zero = (-128 - (low / step).round_()).clamp_(-128, 127)
    return (((exact / step).round_() + zero).clamp_(-128, 127).sub_(zero) * step).to(x.dtype)
