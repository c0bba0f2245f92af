"""Every weight tensor of an architecture, once: the single source of shapes and parameter counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache
from math import prod

from sizer.architecture import Architecture, NormKind, PositionKind


@unique
class Access(StrEnum):
    """How one token's step touches a tensor: all of it (matmul, vector) or one row (lookup)."""

    MATMUL = "matmul"
    LOOKUP = "lookup"
    VECTOR = "vector"


@unique
class Group(StrEnum):
    """Part of the model a tensor is counted under."""

    EMBEDDING = "embedding"
    ATTENTION = "attention"
    MLP = "mlp"
    NORM = "norm"
    HEAD = "head"


@unique
class Role(StrEnum):
    """What a tensor does, named as in GGUF files (`token_embd`, `attn_q`, ...)."""

    TOKEN_EMBEDDING = "token_embd"
    POSITION_EMBEDDING = "position_embd"
    ATTENTION_NORM = "attn_norm"
    QUERY = "attn_q"
    KEY = "attn_k"
    VALUE = "attn_v"
    QUERY_NORM = "attn_q_norm"
    KEY_NORM = "attn_k_norm"
    ATTENTION_SUB_NORM = "attn_sub_norm"
    ATTENTION_OUTPUT = "attn_output"
    MLP_NORM = "ffn_norm"
    GATE = "ffn_gate"
    UP = "ffn_up"
    MLP_SUB_NORM = "ffn_sub_norm"
    DOWN = "ffn_down"
    OUTPUT_NORM = "output_norm"
    OUTPUT = "output"

    @property
    def group(self) -> Group:
        """Part of the model this role is counted under."""
        return _GROUPS[self]


_GROUPS = {
    Role.TOKEN_EMBEDDING: Group.EMBEDDING,
    Role.POSITION_EMBEDDING: Group.EMBEDDING,
    Role.QUERY: Group.ATTENTION,
    Role.KEY: Group.ATTENTION,
    Role.VALUE: Group.ATTENTION,
    Role.ATTENTION_OUTPUT: Group.ATTENTION,
    Role.GATE: Group.MLP,
    Role.UP: Group.MLP,
    Role.DOWN: Group.MLP,
    Role.OUTPUT: Group.HEAD,
    **dict.fromkeys(
        (
            Role.ATTENTION_NORM,
            Role.QUERY_NORM,
            Role.KEY_NORM,
            Role.ATTENTION_SUB_NORM,
            Role.MLP_NORM,
            Role.MLP_SUB_NORM,
            Role.OUTPUT_NORM,
        ),
        Group.NORM,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One stored tensor: Hugging Face name, shape `[out_features, in_features]` or `[n]`, role, layer."""

    name: str
    shape: tuple[int, ...]
    role: Role
    layer: int | None
    access: Access

    @property
    def num_elements(self) -> int:
        """Number of weights in the tensor."""
        return prod(self.shape)

    @property
    def row_length(self) -> int:
        """Elements in one stored row (ggml's ne0, PyTorch's in_features)."""
        return self.shape[-1]

    @property
    def is_bias(self) -> bool:
        """Whether this is the bias that belongs to a matrix (or norm) of the same role."""
        return self.name.endswith(".bias")


# A search or a solve asks for the same few lists again and again (hundreds of tensors each).
@lru_cache(maxsize=64)
def tensor_specs(architecture: Architecture) -> tuple[TensorSpec, ...]:
    """Every weight tensor once; shared blocks once; a tied head not at all (its embedding is a matmul)."""
    return tuple(_specs(architecture))


def _specs(a: Architecture) -> Iterator[TensorSpec]:
    embedding_access = Access.MATMUL if a.tie_embeddings else Access.LOOKUP
    yield TensorSpec(
        name="model.embed_tokens.weight",
        shape=(a.vocab_size, a.hidden_size),
        role=Role.TOKEN_EMBEDDING,
        layer=None,
        access=embedding_access,
    )
    if a.position is PositionKind.LEARNED:
        yield TensorSpec(
            name="model.embed_positions.weight",
            shape=(a.max_position_embeddings, a.hidden_size),
            role=Role.POSITION_EMBEDDING,
            layer=None,
            access=Access.LOOKUP,
        )
    for layer in range(a.num_layers):
        yield from _block(a, layer)
    yield from _norm(a, Role.OUTPUT_NORM, "model.norm", a.hidden_size, None)
    if not a.tie_embeddings:
        yield from _matrix(Role.OUTPUT, "lm_head", a.vocab_size, a.hidden_size, None, bias=False)


def _block(a: Architecture, layer: int) -> Iterator[TensorSpec]:
    prefix = f"model.layers.{layer}"
    attention = f"{prefix}.self_attn"
    d, q, kv = a.hidden_size, a.q_width, a.kv_width
    yield from _norm(a, Role.ATTENTION_NORM, f"{prefix}.input_layernorm", d, layer)
    yield from _matrix(Role.QUERY, f"{attention}.q_proj", q, d, layer, bias=a.qkv_bias)
    yield from _matrix(Role.KEY, f"{attention}.k_proj", kv, d, layer, bias=a.qkv_bias)
    yield from _matrix(Role.VALUE, f"{attention}.v_proj", kv, d, layer, bias=a.qkv_bias)
    if a.qk_norm:
        yield from _norm(a, Role.QUERY_NORM, f"{attention}.q_norm", a.head_dim, layer)
        yield from _norm(a, Role.KEY_NORM, f"{attention}.k_norm", a.head_dim, layer)
    if a.sub_norms:
        yield from _norm(a, Role.ATTENTION_SUB_NORM, f"{attention}.attn_sub_norm", q, layer)
    output_bias = a.attention_output_bias
    yield from _matrix(Role.ATTENTION_OUTPUT, f"{attention}.o_proj", d, q, layer, bias=output_bias)
    yield from _norm(a, Role.MLP_NORM, f"{prefix}.post_attention_layernorm", d, layer)
    if layer == 0 or not a.shared_mlp:
        yield from _mlp(a, f"{prefix}.mlp", layer)


def _mlp(a: Architecture, prefix: str, layer: int) -> Iterator[TensorSpec]:
    d, ff = a.hidden_size, a.intermediate_size
    if a.mlp.gated:
        yield from _matrix(Role.GATE, f"{prefix}.gate_proj", ff, d, layer, bias=a.mlp_bias)
    yield from _matrix(Role.UP, f"{prefix}.up_proj", ff, d, layer, bias=a.mlp_bias)
    if a.sub_norms:
        yield from _norm(a, Role.MLP_SUB_NORM, f"{prefix}.ffn_sub_norm", ff, layer)
    yield from _matrix(Role.DOWN, f"{prefix}.down_proj", d, ff, layer, bias=a.mlp_bias)


def _matrix(
    role: Role, name: str, rows: int, columns: int, layer: int | None, *, bias: bool
) -> Iterator[TensorSpec]:
    yield TensorSpec(
        name=f"{name}.weight", shape=(rows, columns), role=role, layer=layer, access=Access.MATMUL
    )
    if bias:
        yield TensorSpec(name=f"{name}.bias", shape=(rows,), role=role, layer=layer, access=Access.VECTOR)


def _norm(a: Architecture, role: Role, name: str, width: int, layer: int | None) -> Iterator[TensorSpec]:
    if a.norm is NormKind.NONE:
        return
    parts = ("weight", "bias") if a.norm is NormKind.LAYERNORM else ("weight",)
    for part in parts:
        yield TensorSpec(name=f"{name}.{part}", shape=(width,), role=role, layer=layer, access=Access.VECTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCounts:
    """Number of weights by part of the model; parts sum to `total`."""

    embedding: int
    attention: int
    mlp: int
    norm: int
    head: int

    @property
    def total(self) -> int:
        """All weights, shared blocks and tied tables once."""
        return self.embedding + self.attention + self.mlp + self.norm + self.head

    @property
    def non_embedding(self) -> int:
        """Weights outside embedding tables and head (Kaplan et al., arXiv 2001.08361, section 2.1)."""
        return self.attention + self.mlp + self.norm


def count_parameters(specs: tuple[TensorSpec, ...]) -> ParameterCounts:
    """Number of weights by group, from the tensor list."""
    sums = dict.fromkeys(Group, 0)
    for spec in specs:
        sums[spec.role.group] += spec.num_elements
    return ParameterCounts(**{group.value: count for group, count in sums.items()})
