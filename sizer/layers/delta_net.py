"""Gated delta nets (arXiv 2412.06464): linear attention of Qwen3-Next and Qwen3.5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sizer.errors import InvalidArchitecture
from sizer.tensor_spec import Role, TensorSpec, bias_of, depthwise_convolution, matrix, vector


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedDeltaNet:
    """Layers whose value heads each keep a state of key_head_dim x value_head_dim."""

    layers: tuple[int, ...]
    num_key_heads: int
    num_value_heads: int
    key_head_dim: int
    value_head_dim: int
    conv_kernel: int = 4
    fused_projections: bool = False  # Qwen3-Next: query, key, value and gate are one matrix
    fused_beta_alpha: bool = False  # Qwen3-Next: what scales and decays is one matrix

    def __post_init__(self) -> None:
        if self.num_key_heads < 1 or self.num_value_heads % self.num_key_heads:
            raise InvalidArchitecture(
                "delta_net.num_value_heads must be a multiple of delta_net.num_key_heads, "
                f"got {self.num_value_heads} and {self.num_key_heads}"
            )

    @property
    def value_width(self) -> int:
        """Width of all value heads together."""
        return self.num_value_heads * self.value_head_dim

    @property
    def conv_channels(self) -> int:
        """Channels that pass the convolution: queries, keys and values."""
        return 2 * self.num_key_heads * self.key_head_dim + self.value_width

    @property
    def state_elements(self) -> int:
        """Elements of the recurrent state of one layer and sequence."""
        return self.value_width * self.key_head_dim

    def tensors(self, hidden_size: int, prefix: str, layer: int) -> Iterator[TensorSpec]:
        """List the tensors of one layer."""
        d, heads, width = hidden_size, self.num_value_heads, self.value_width
        if self.fused_projections:
            yield from matrix(Role.SSM_IN, f"{prefix}.in_proj_qkvz", self.conv_channels + width, d, layer)
        else:
            yield from matrix(Role.QKV, f"{prefix}.in_proj_qkv", self.conv_channels, d, layer)
            yield from matrix(Role.ATTENTION_GATE, f"{prefix}.in_proj_z", width, d, layer)
        if self.fused_beta_alpha:
            yield from matrix(Role.SSM_BETA_ALPHA, f"{prefix}.in_proj_ba", 2 * heads, d, layer)
        else:
            yield from matrix(Role.SSM_BETA, f"{prefix}.in_proj_b", heads, d, layer)
            yield from matrix(Role.SSM_ALPHA, f"{prefix}.in_proj_a", heads, d, layer)
        yield from depthwise_convolution(
            Role.SSM_CONV, f"{prefix}.conv1d", self.conv_channels, self.conv_kernel, layer, bias=False
        )
        yield bias_of(Role.SSM_DT, f"{prefix}.dt", heads, layer)
        yield vector(Role.SSM_A, f"{prefix}.A_log", (heads,), layer)
        yield vector(Role.SSM_NORM, f"{prefix}.norm.weight", (self.value_head_dim,), layer)
        yield from matrix(Role.SSM_OUT, f"{prefix}.out_proj", d, width, layer)
