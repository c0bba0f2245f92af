"""Rounding as C does it: what ggml's quantizers share."""

from __future__ import annotations

import torch
from torch import Tensor


def as_half(x: Tensor) -> Tensor:
    """Return the values as stored in half precision (nearest, ties to even), back in float32."""
    return x.half().float()


def inverse(scale: Tensor) -> Tensor:
    """Return 1 / scale, and 0 where the scale is 0."""
    return torch.where(scale == 0, 0.0, 1 / scale)


def divide(number: float, by: Tensor) -> Tensor:
    """Return number / by, rounded once: written with the operator, torch multiplies by a rounded reciprocal.

    The difference decides where a search puts its largest weight exactly between two levels, as ggml's do.
    """
    return torch.full_like(by, number).div_(by)


def round_half_away(x: Tensor) -> Tensor:
    """Return C's roundf: nearest, halves away from zero (torch.round takes halves to even)."""
    magnitude = x.abs()
    floor = magnitude.floor()
    return torch.copysign(floor + (magnitude - floor >= 0.5).float(), x)


def first_extreme(x: Tensor) -> Tensor:
    """Return the value of largest magnitude of the last axis, sign kept, first of equals; keep the axis."""
    return x.gather(-1, x.abs().argmax(-1, keepdim=True))
