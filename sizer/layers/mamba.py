"""Mamba and Mamba-2: selective state-space layers, as modeling_mamba.py and modeling_mamba2.py have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sizer.errors import InvalidArchitecture
from sizer.tensor_spec import Role, TensorSpec, bias_of, depthwise_convolution, matrix, vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba:
    """Mamba (arXiv 2312.00752): one state of `state_size` for each of `inner_size` channels."""

    layers: tuple[int, ...]
    inner_size: int
    state_size: int
    time_step_rank: int
    conv_kernel: int = 4
    conv_bias: bool = True
    bias: bool = False  # of the projections in and out
    inner_norms: bool = False  # Jamba: norms on time step, B and C

    @property
    def conv_channels(self) -> int:
        """Channels that pass the convolution."""
        return self.inner_size

    @property
    def state_elements(self) -> int:
        """Elements of the recurrent state of one layer and sequence."""
        return self.inner_size * self.state_size

    def tensors(self, hidden_size: int, prefix: str, layer: int) -> Iterator[TensorSpec]:
        """List the tensors of one layer."""
        inner, rank, state = self.inner_size, self.time_step_rank, self.state_size
        yield from matrix(Role.SSM_IN, f"{prefix}.in_proj", 2 * inner, hidden_size, layer, bias=self.bias)
        yield from depthwise_convolution(
            Role.SSM_CONV, f"{prefix}.conv1d", inner, self.conv_kernel, layer, bias=self.conv_bias
        )
        yield from matrix(Role.SSM_X, f"{prefix}.x_proj", rank + 2 * state, inner, layer)
        if self.inner_norms:
            yield vector(Role.SSM_DT_NORM, f"{prefix}.dt_layernorm.weight", (rank,), layer)
            yield vector(Role.SSM_B_NORM, f"{prefix}.b_layernorm.weight", (state,), layer)
            yield vector(Role.SSM_C_NORM, f"{prefix}.c_layernorm.weight", (state,), layer)
        yield from matrix(Role.SSM_DT, f"{prefix}.dt_proj", inner, rank, layer, bias=True)
        yield vector(Role.SSM_A, f"{prefix}.A_log", (inner, state), layer)
        yield vector(Role.SSM_D, f"{prefix}.D", (inner,), layer)
        yield from matrix(Role.SSM_OUT, f"{prefix}.out_proj", hidden_size, inner, layer, bias=self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba2:
    """Mamba-2 (arXiv 2405.21060): heads with a state of `head_dim` x `state_size` each."""

    layers: tuple[int, ...]
    num_heads: int
    head_dim: int
    state_size: int
    num_groups: int = 1
    conv_kernel: int = 4
    conv_bias: bool = True
    input_bias: bool = False
    output_bias: bool = False
    gated_norm: bool = True
    beside_attention: bool = False  # Falcon-H1: in parallel with the layer's attention

    def __post_init__(self) -> None:
        if self.num_groups < 1 or self.num_heads % self.num_groups:
            raise InvalidArchitecture(
                "mamba2.num_heads must be a multiple of mamba2.num_groups, "
                f"got {self.num_heads} and {self.num_groups}"
            )

    @property
    def inner_size(self) -> int:
        """Width of all heads together."""
        return self.num_heads * self.head_dim

    @property
    def conv_channels(self) -> int:
        """Channels that pass the convolution: all heads, and B and C of each group."""
        return self.inner_size + 2 * self.num_groups * self.state_size

    @property
    def state_elements(self) -> int:
        """Elements of the recurrent state of one layer and sequence."""
        return self.inner_size * self.state_size

    def tensors(self, hidden_size: int, prefix: str, layer: int) -> Iterator[TensorSpec]:
        """List the tensors of one layer."""
        inner, heads = self.inner_size, self.num_heads
        width = inner + self.conv_channels + heads
        yield from matrix(Role.SSM_IN, f"{prefix}.in_proj", width, hidden_size, layer, bias=self.input_bias)
        yield from depthwise_convolution(
            Role.SSM_CONV,
            f"{prefix}.conv1d",
            self.conv_channels,
            self.conv_kernel,
            layer,
            bias=self.conv_bias,
        )
        yield bias_of(Role.SSM_DT, f"{prefix}.dt", heads, layer)
        # as GGUF files have them; in Hugging Face's they have one dimension
        yield vector(Role.SSM_A, f"{prefix}.A_log", (heads, 1), layer)
        yield vector(Role.SSM_D, f"{prefix}.D", (heads, 1), layer)
        if self.gated_norm:
            groups = (self.num_groups, inner // self.num_groups)
            yield vector(Role.SSM_NORM, f"{prefix}.norm.weight", groups, layer)
        yield from matrix(
            Role.SSM_OUT, f"{prefix}.out_proj", hidden_size, inner, layer, bias=self.output_bias
        )
