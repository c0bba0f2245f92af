"""A gated short convolution over positions in place of attention, as LFM2's layers have it.

One projection makes two gates and a value of each position. The first gate times the value is convolved over
the last few positions, each channel alone; the second gate times the result is projected back (Lfm2ShortConv
in transformers, build_shortconv_block in llama.cpp).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search.training.linear import Linear
from sizer.architecture import Architecture


class _Filters(nn.Module):
    """A causal filter for each channel, `[channels, 1, kernel]`; zeros until initialised or loaded."""

    def __init__(self, channels: int, kernel: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, kernel))
        self.bias: nn.Parameter | None
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels)) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """Sum the weighed last positions of each channel, the newest by the last weight; keep the shape."""
        channels, _, kernel = self.weight.shape
        bias = None if self.bias is None else self.bias.to(x.dtype)
        y = F.conv1d(x.mT, self.weight.to(x.dtype), bias, padding=kernel - 1, groups=channels)
        return y[..., : x.shape[1]].mT


class ShortConvolution(nn.Module):
    """The mixer of a layer without attention: its state is the inputs of the last positions alone."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.in_proj = Linear(a.hidden_size, 3 * a.hidden_size, bias=a.conv_bias)
        self.conv = _Filters(a.hidden_size, a.conv_kernel, bias=a.conv_bias)
        self.out_proj = Linear(a.hidden_size, a.hidden_size, bias=a.conv_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, seq, hidden]` to the same."""
        gate_in, gate_out, value = self.in_proj(x).chunk(3, dim=-1)
        out: Tensor = self.out_proj(gate_out * self.conv(gate_in * value))
        return out
