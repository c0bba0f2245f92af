"""Every weight tensor of an architecture, once: the single source of shapes and parameter counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache
from math import prod
from typing import NamedTuple

from sizer.architecture import Architecture, BlockNorms, NormKind, PositionKind


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
    EMBEDDING_NORM = "token_embd_norm"
    EMBEDDING_IN = "token_embd_in"
    EMBEDDING_OUT = "token_embd_out"
    POSITION_EMBEDDING = "position_embd"
    ATTENTION_NORM = "attn_norm"
    QUERY = "attn_q"
    KEY = "attn_k"
    VALUE = "attn_v"
    QKV = "attn_qkv"
    QUERY_NORM = "attn_q_norm"
    KEY_NORM = "attn_k_norm"
    ATTENTION_SUB_NORM = "attn_sub_norm"
    ATTENTION_OUTPUT = "attn_output"
    CONV_IN = "shortconv.in_proj"
    CONV = "shortconv.conv"
    CONV_OUT = "shortconv.out_proj"
    POST_ATTENTION_NORM = "post_attention_norm"
    MLP_NORM = "ffn_norm"
    GATE = "ffn_gate"
    UP = "ffn_up"
    GATE_UP = "ffn_gate_up"
    MLP_SUB_NORM = "ffn_sub_norm"
    DOWN = "ffn_down"
    ROUTER = "ffn_gate_inp"
    GATE_EXPERTS = "ffn_gate_exps"
    UP_EXPERTS = "ffn_up_exps"
    DOWN_EXPERTS = "ffn_down_exps"
    SHARED_ROUTER = "ffn_gate_inp_shexp"
    GATE_SHARED = "ffn_gate_shexp"
    UP_SHARED = "ffn_up_shexp"
    DOWN_SHARED = "ffn_down_shexp"
    POST_MLP_NORM = "post_ffw_norm"
    OUTPUT_NORM = "output_norm"
    OUTPUT = "output"

    @property
    def group(self) -> Group:
        """Part of the model this role is counted under."""
        return _GROUPS[self]


_GROUPS = {
    Role.TOKEN_EMBEDDING: Group.EMBEDDING,
    Role.POSITION_EMBEDDING: Group.EMBEDDING,
    Role.EMBEDDING_IN: Group.EMBEDDING,
    Role.EMBEDDING_OUT: Group.HEAD,
    Role.QUERY: Group.ATTENTION,
    Role.KEY: Group.ATTENTION,
    Role.VALUE: Group.ATTENTION,
    Role.QKV: Group.ATTENTION,
    Role.ATTENTION_OUTPUT: Group.ATTENTION,
    **dict.fromkeys((Role.CONV_IN, Role.CONV, Role.CONV_OUT), Group.ATTENTION),  # mix tokens in its place
    Role.GATE: Group.MLP,
    Role.UP: Group.MLP,
    Role.GATE_UP: Group.MLP,
    Role.DOWN: Group.MLP,
    **dict.fromkeys((Role.ROUTER, Role.GATE_EXPERTS, Role.UP_EXPERTS, Role.DOWN_EXPERTS), Group.MLP),
    **dict.fromkeys((Role.SHARED_ROUTER, Role.GATE_SHARED, Role.UP_SHARED, Role.DOWN_SHARED), Group.MLP),
    Role.OUTPUT: Group.HEAD,
    **dict.fromkeys(
        (
            Role.EMBEDDING_NORM,
            Role.ATTENTION_NORM,
            Role.QUERY_NORM,
            Role.KEY_NORM,
            Role.ATTENTION_SUB_NORM,
            Role.POST_ATTENTION_NORM,
            Role.MLP_NORM,
            Role.MLP_SUB_NORM,
            Role.POST_MLP_NORM,
            Role.OUTPUT_NORM,
        ),
        Group.NORM,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One stored tensor: Hugging Face name, shape `[out_features, in_features]` or `[n]`, role, layer.

    The experts of a layer are one tensor, `[num_experts, out_features, in_features]`, of which a token uses
    `used_experts`.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    layer: int | None
    access: Access
    used_experts: int | None = None

    @property
    def num_elements(self) -> int:
        """Number of weights in the tensor."""
        return prod(self.shape)

    @property
    def active_share(self) -> float:
        """Share of the tensor that one token uses: its experts of all, or everything."""
        return 1.0 if self.used_experts is None else self.used_experts / self.shape[0]

    @property
    def active_elements(self) -> int:
        """Number of weights that one token uses."""
        experts = self.used_experts
        return self.num_elements if experts is None else self.num_elements // self.shape[0] * experts

    @property
    def row_length(self) -> int:
        """Elements in one stored row (ggml's ne0, PyTorch's in_features)."""
        return self.shape[-1]

    @property
    def is_bias(self) -> bool:
        """Whether this is the bias that belongs to a matrix (or norm) of the same role."""
        return self.name.endswith(".bias")


# A search or a solve asks for the same few lists again and again (hundreds of tensors each).
@lru_cache(maxsize=256)
def tensor_specs(architecture: Architecture) -> tuple[TensorSpec, ...]:
    """Every weight tensor once; shared blocks once; a tied head not at all (its embedding is a matmul)."""
    return tuple(_specs(architecture))


def _specs(a: Architecture) -> Iterator[TensorSpec]:
    embedding_access = Access.MATMUL if a.tie_embeddings else Access.LOOKUP
    yield TensorSpec(
        name="model.embed_tokens.weight",
        shape=(a.vocab_size, a.embedding_width),
        role=Role.TOKEN_EMBEDDING,
        layer=None,
        access=embedding_access,
    )
    if a.position is PositionKind.LEARNED:
        yield TensorSpec(
            name="model.embed_positions.weight",
            shape=(a.position_offset + a.max_position_embeddings, a.hidden_size),
            role=Role.POSITION_EMBEDDING,
            layer=None,
            access=Access.LOOKUP,
        )
    if a.embedding_size is not None:
        width = a.embedding_size
        yield from _matrix(Role.EMBEDDING_IN, "model.project_in", a.hidden_size, width, None, bias=False)
        yield from _matrix(Role.EMBEDDING_OUT, "model.project_out", width, a.hidden_size, None, bias=False)
    if a.embedding_norm:
        yield from _norm(a, Role.EMBEDDING_NORM, "model.embed_norm", a.hidden_size, None)
    for layer in range(a.num_layers):
        yield from _block(a, layer)
    if a.final_norm:
        # LFM2 and its GGUF files call it the embedding's
        role = Role.EMBEDDING_NORM if a.conv_layers else Role.OUTPUT_NORM
        yield from _norm(a, role, "model.norm", a.hidden_size, None)
    if not a.tie_embeddings:
        yield from _matrix(Role.OUTPUT, "lm_head", a.vocab_size, a.embedding_width, None, bias=a.head_bias)
    elif a.head_bias:
        yield _bias(Role.OUTPUT, "lm_head", a.vocab_size, None)


def _block(a: Architecture, layer: int) -> Iterator[TensorSpec]:
    prefix = f"model.layers.{layer}"
    d, norms = a.hidden_size, a.block_norms
    if norms is not BlockNorms.POST:
        yield from _norm(a, Role.ATTENTION_NORM, f"{prefix}.input_layernorm", d, layer)
    if layer in a.conv_layers:
        yield from _short_conv(a, f"{prefix}.conv", layer)
    else:
        yield from _attention(a, f"{prefix}.self_attn", layer)
    # Hugging Face's post_attention_layernorm is Llama's norm before the MLP, but Gemma 2's and OLMo 2's after
    # attention.
    if norms is BlockNorms.PRE:
        yield from _norm(a, Role.MLP_NORM, f"{prefix}.post_attention_layernorm", d, layer)
    if norms in (BlockNorms.POST, BlockNorms.BOTH):
        yield from _norm(a, Role.POST_ATTENTION_NORM, f"{prefix}.post_attention_layernorm", d, layer)
    if norms is BlockNorms.BOTH:
        yield from _norm(a, Role.MLP_NORM, f"{prefix}.pre_feedforward_layernorm", d, layer)
    if a.num_experts and layer not in a.dense_layers:
        yield from _experts(a, f"{prefix}.mlp", layer)
    elif layer == 0 or not a.shared_mlp:
        yield from _mlp(a, f"{prefix}.mlp", layer)
    if norms in (BlockNorms.POST, BlockNorms.BOTH):
        yield from _norm(a, Role.POST_MLP_NORM, f"{prefix}.post_feedforward_layernorm", d, layer)


def _attention(a: Architecture, prefix: str, layer: int) -> Iterator[TensorSpec]:
    d, q, kv = a.hidden_size, a.q_width, a.kv_width
    if a.layer_num_heads:
        q = a.layer_num_heads[layer] * a.head_dim
        kv = q // (a.num_heads // a.num_kv_heads)
    if a.fused_qkv:
        yield from _matrix(Role.QKV, f"{prefix}.qkv_proj", q + 2 * kv, d, layer, bias=a.qkv_bias)
    else:
        yield from _matrix(Role.QUERY, f"{prefix}.q_proj", q, d, layer, bias=a.qkv_bias)
        yield from _matrix(Role.KEY, f"{prefix}.k_proj", kv, d, layer, bias=a.qkv_bias)
        yield from _matrix(Role.VALUE, f"{prefix}.v_proj", kv, d, layer, bias=a.qkv_bias)
    if a.qk_norm:
        for role, name, width in ((Role.QUERY_NORM, "q_norm", q), (Role.KEY_NORM, "k_norm", kv)):
            if a.qk_norm_each_head:
                # layer norms without biases (StableLmLayerNormPerHead), all heads in one tensor as in GGUF
                yield TensorSpec(
                    name=f"{prefix}.{name}.weight",
                    shape=(width // a.head_dim, a.head_dim),
                    role=role,
                    layer=layer,
                    access=Access.VECTOR,
                )
            else:
                norm_width = width if a.qk_norm_all_heads else a.head_dim
                yield from _norm(a, role, f"{prefix}.{name}", norm_width, layer)
    if a.sub_norms:
        yield from _norm(a, Role.ATTENTION_SUB_NORM, f"{prefix}.attn_sub_norm", q, layer)
    yield from _matrix(Role.ATTENTION_OUTPUT, f"{prefix}.o_proj", d, q, layer, bias=a.attention_output_bias)


def _short_conv(a: Architecture, prefix: str, layer: int) -> Iterator[TensorSpec]:
    d = a.hidden_size
    yield from _matrix(Role.CONV_IN, f"{prefix}.in_proj", 3 * d, d, layer, bias=a.conv_bias)
    kernel = (d, 1, a.conv_kernel)  # one filter for each channel
    yield TensorSpec(
        name=f"{prefix}.conv.weight", shape=kernel, role=Role.CONV, layer=layer, access=Access.VECTOR
    )
    if a.conv_bias:
        yield _bias(Role.CONV, f"{prefix}.conv", d, layer)
    yield from _matrix(Role.CONV_OUT, f"{prefix}.out_proj", d, d, layer, bias=a.conv_bias)


def _mlp(a: Architecture, prefix: str, layer: int) -> Iterator[TensorSpec]:
    d = a.hidden_size
    ff = a.layer_intermediate_sizes[layer] if a.layer_intermediate_sizes else a.intermediate_size
    if a.mlp.gated and a.fused_gate_up:
        yield from _matrix(Role.GATE_UP, f"{prefix}.gate_up_proj", 2 * ff, d, layer, bias=a.mlp_bias)
    else:
        if a.mlp.gated:
            yield from _matrix(Role.GATE, f"{prefix}.gate_proj", ff, d, layer, bias=a.mlp_bias)
        yield from _matrix(Role.UP, f"{prefix}.up_proj", ff, d, layer, bias=a.mlp_bias)
    if a.sub_norms:
        yield from _norm(a, Role.MLP_SUB_NORM, f"{prefix}.ffn_sub_norm", ff, layer)
    yield from _matrix(Role.DOWN, f"{prefix}.down_proj", d, ff, layer, bias=a.mlp_bias)


def _experts(a: Architecture, prefix: str, layer: int) -> Iterator[TensorSpec]:
    """Router and experts, each kind of matrix one tensor as in GGUF files.

    Hugging Face's files fuse gate and up (granitemoe) or hold the experts one by one (olmoe, qwen3_moe).
    """
    d, ff, shared = a.hidden_size, a.expert_width, a.shared_expert_intermediate_size
    yield from _matrix(Role.ROUTER, f"{prefix}.gate", a.num_experts, d, layer, bias=False)
    for role, name, rows, columns in (
        (Role.GATE_EXPERTS, "gate_proj", ff, d),
        (Role.UP_EXPERTS, "up_proj", ff, d),
        (Role.DOWN_EXPERTS, "down_proj", d, ff),
    ):
        yield TensorSpec(
            name=f"{prefix}.experts.{name}.weight",
            shape=(a.num_experts, rows, columns),
            role=role,
            layer=layer,
            access=Access.MATMUL,
            used_experts=a.num_experts_per_tok,
        )
    if shared:
        yield from _matrix(
            Role.GATE_SHARED, f"{prefix}.shared_expert.gate_proj", shared, d, layer, bias=False
        )
        yield from _matrix(Role.UP_SHARED, f"{prefix}.shared_expert.up_proj", shared, d, layer, bias=False)
        yield from _matrix(
            Role.DOWN_SHARED, f"{prefix}.shared_expert.down_proj", d, shared, layer, bias=False
        )
    if a.shared_expert_gate:
        yield from _matrix(Role.SHARED_ROUTER, f"{prefix}.shared_expert_gate", 1, d, layer, bias=False)


def _matrix(
    role: Role, name: str, rows: int, columns: int, layer: int | None, *, bias: bool
) -> Iterator[TensorSpec]:
    yield TensorSpec(
        name=f"{name}.weight", shape=(rows, columns), role=role, layer=layer, access=Access.MATMUL
    )
    if bias:
        yield _bias(role, name, rows, layer)


def _bias(role: Role, name: str, rows: int, layer: int | None) -> TensorSpec:
    return TensorSpec(name=f"{name}.bias", shape=(rows,), role=role, layer=layer, access=Access.VECTOR)


def _norm(a: Architecture, role: Role, name: str, width: int, layer: int | None) -> Iterator[TensorSpec]:
    if a.norm is NormKind.NONE:
        return
    parts = ("weight", "bias") if a.norm is NormKind.LAYERNORM else ("weight",)
    for part in parts:
        yield TensorSpec(name=f"{name}.{part}", shape=(width,), role=role, layer=layer, access=Access.VECTOR)


class ParameterCounts(NamedTuple):
    """Number of weights by part of the model; parts sum to `total`.

    `active` counts tables and head whole, as published counts do.
    """

    embedding: int
    attention: int
    mlp: int
    norm: int
    head: int
    inactive: int = 0  # weights of experts that a token does not use

    @property
    def total(self) -> int:
        """All weights, shared blocks and tied tables once."""
        return self.embedding + self.attention + self.mlp + self.norm + self.head

    @property
    def active(self) -> int:
        """Weights one token uses: all but those of experts that are not chosen for it."""
        return self.total - self.inactive

    @property
    def non_embedding(self) -> int:
        """Weights outside embedding tables and head (Kaplan et al., arXiv 2001.08361, section 2.1)."""
        return self.attention + self.mlp + self.norm


def count_parameters(specs: tuple[TensorSpec, ...]) -> ParameterCounts:
    """Number of weights by group, from the tensor list."""
    sums = dict.fromkeys(Group, 0)
    inactive = 0
    for spec in specs:
        sums[spec.role.group] += spec.num_elements
        if spec.used_experts is not None:
            inactive += spec.num_elements - spec.active_elements
    return ParameterCounts(**{group.value: count for group, count in sums.items()}, inactive=inactive)
