"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values from one low-rank row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sizer.tensor_spec import Access, Role, TensorSpec, matrix, vector


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """Ranks and head widths of multi-head latent attention; heads are those of the architecture."""

    kv_rank: int
    nope_head_dim: int  # part of a query or key without positions
    rope_head_dim: int  # rotated part, whose key all heads share
    value_head_dim: int
    query_rank: int | None = None  # None: queries come from one matrix
    bias: bool = False  # of the projections down, and of the output
    split: bool = False  # GGUF files: what makes keys and what makes values apart, head by head

    @property
    def head_dim(self) -> int:
        """Width of one query or key."""
        return self.nope_head_dim + self.rope_head_dim

    @property
    def latent_width(self) -> int:
        """Elements of one token that hold keys and values of all heads."""
        return self.kv_rank + self.rope_head_dim

    def tensors(self, num_heads: int, hidden_size: int, prefix: str, layer: int) -> Iterator[TensorSpec]:
        """List the tensors of one layer."""
        d, queries = hidden_size, num_heads * self.head_dim
        values = num_heads * self.value_head_dim
        if self.query_rank is None:
            yield from matrix(Role.QUERY, f"{prefix}.q_proj", queries, d, layer)
        else:
            rank = self.query_rank
            yield from matrix(Role.QUERY_DOWN, f"{prefix}.q_a_proj", rank, d, layer, bias=self.bias)
            yield vector(Role.QUERY_DOWN_NORM, f"{prefix}.q_a_layernorm.weight", (rank,), layer)
            yield from matrix(Role.QUERY_UP, f"{prefix}.q_b_proj", queries, rank, layer)
        yield from matrix(
            Role.LATENT, f"{prefix}.kv_a_proj_with_mqa", self.latent_width, d, layer, bias=self.bias
        )
        yield vector(Role.LATENT_NORM, f"{prefix}.kv_a_layernorm.weight", (self.kv_rank,), layer)
        if self.split:
            for role, name, shape in (
                (Role.LATENT_KEY, "k_b_proj", (num_heads, self.kv_rank, self.nope_head_dim)),
                (Role.LATENT_VALUE, "v_b_proj", (num_heads, self.value_head_dim, self.kv_rank)),
            ):
                yield TensorSpec(
                    name=f"{prefix}.{name}.weight", shape=shape, role=role, layer=layer, access=Access.MATMUL
                )
        else:
            keys_and_values = num_heads * self.nope_head_dim + values
            yield from matrix(Role.LATENT_UP, f"{prefix}.kv_b_proj", keys_and_values, self.kv_rank, layer)
        yield from matrix(Role.ATTENTION_OUTPUT, f"{prefix}.o_proj", d, values, layer, bias=self.bias)
