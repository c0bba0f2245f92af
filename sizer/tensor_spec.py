"""One weight tensor: its role (named as in GGUF files), part of the model, shape and access."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum, unique
from math import prod
from typing import NamedTuple


@unique
class Access(StrEnum):
    """How one token's step touches a tensor: all of it (matmul, vector) or one row (lookup)."""

    MATMUL = "matmul"
    LOOKUP = "lookup"
    VECTOR = "vector"


@unique
class Group(StrEnum):
    """Part of the model a tensor is counted under."""

    __hash__ = str.__hash__  # an Enum's own runs in Python

    EMBEDDING = "embedding"
    ATTENTION = "attention"
    MLP = "mlp"
    NORM = "norm"
    HEAD = "head"


@unique
class Role(StrEnum):
    """Role of a tensor, named as in GGUF files (`token_embd`, `attn_q`, ...)."""

    __hash__ = str.__hash__

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
    ATTENTION_GATE = "attn_gate"
    ATTENTION_SINKS = "attn_sinks"
    QUERY_DOWN = "attn_q_a"
    QUERY_DOWN_NORM = "attn_q_a_norm"
    QUERY_UP = "attn_q_b"
    LATENT = "attn_kv_a_mqa"
    LATENT_NORM = "attn_kv_a_norm"
    LATENT_UP = "attn_kv_b"
    LATENT_KEY = "attn_k_b"
    LATENT_VALUE = "attn_v_b"
    CONV_IN = "shortconv.in_proj"
    CONV = "shortconv.conv"
    CONV_OUT = "shortconv.out_proj"
    SSM_IN = "ssm_in"
    SSM_CONV = "ssm_conv1d"
    SSM_X = "ssm_x"
    SSM_DT = "ssm_dt"
    SSM_DT_NORM = "ssm_dt_norm"
    SSM_B_NORM = "ssm_b_norm"
    SSM_C_NORM = "ssm_c_norm"
    SSM_A = "ssm_a"
    SSM_D = "ssm_d"
    SSM_ALPHA = "ssm_alpha"
    SSM_BETA = "ssm_beta"
    SSM_BETA_ALPHA = "ssm_ba"
    SSM_NORM = "ssm_norm"
    SSM_OUT = "ssm_out"
    POST_ATTENTION_NORM = "post_attention_norm"
    MLP_NORM = "ffn_norm"
    GATE = "ffn_gate"
    UP = "ffn_up"
    GATE_UP = "ffn_gate_up"
    MLP_SUB_NORM = "ffn_sub_norm"
    DOWN = "ffn_down"
    ROUTER = "ffn_gate_inp"
    ROUTING_BIAS = "exp_probs_b"
    EXPERTS_IN = "ffn_latent_down"
    EXPERTS_OUT = "ffn_latent_up"
    GATE_EXPERTS = "ffn_gate_exps"
    UP_EXPERTS = "ffn_up_exps"
    DOWN_EXPERTS = "ffn_down_exps"
    SHARED_ROUTER = "ffn_gate_inp_shexp"
    GATE_SHARED = "ffn_gate_shexp"
    UP_SHARED = "ffn_up_shexp"
    DOWN_SHARED = "ffn_down_shexp"
    ROUTER_SCALE = "ffn_gate_inp.scale"  # with its suffix
    EXPERT_SCALES = "ffn_down_exps.scale"
    POST_MLP_NORM = "post_ffw_norm"
    POST_MLP_NORM_1 = "post_ffw_norm_1"
    PRE_EXPERTS_NORM = "pre_ffw_norm_2"
    POST_EXPERTS_NORM = "post_ffw_norm_2"
    PER_LAYER_EMBEDDING = "per_layer_token_embd"
    PER_LAYER_PROJECTION = "per_layer_model_proj"
    PER_LAYER_NORM = "per_layer_proj_norm"
    PER_LAYER_GATE = "inp_gate"
    PER_LAYER_OUT = "proj"
    POST_PER_LAYER_NORM = "post_norm"
    ALTUP_PROJECTIONS = "altup_proj"
    ALTUP_UNEMBED_PROJECTIONS = "altup_unembd_proj"
    ALTUP_CORRECTION = "altup_correct_coef"
    ALTUP_SCALE = "altup_correct_scale"
    ALTUP_PREDICTION = "altup_predict_coef"
    ALTUP_ROUTER = "altup_router"
    ALTUP_ROUTER_NORM = "altup_router_norm"
    LAUREL_LEFT = "laurel_l"
    LAUREL_RIGHT = "laurel_r"
    LAUREL_NORM = "laurel_post_norm"
    ROPE_FACTORS = "rope_freqs"
    LAYER_SCALE = "layer_output_scale"
    SHARED_BLOCK_OUT = "shared_block_out"
    ADAPTER_DOWN = "adapter_down"
    ADAPTER_UP = "adapter_up"
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
    Role.PER_LAYER_EMBEDDING: Group.EMBEDDING,
    Role.PER_LAYER_PROJECTION: Group.EMBEDDING,
    Role.ALTUP_PROJECTIONS: Group.EMBEDDING,
    Role.ALTUP_UNEMBED_PROJECTIONS: Group.HEAD,
    **dict.fromkeys(
        (
            Role.ROUTER_SCALE,
            Role.EXPERT_SCALES,
            Role.PER_LAYER_GATE,
            Role.PER_LAYER_OUT,
            Role.ALTUP_CORRECTION,
            Role.ALTUP_SCALE,
            Role.ALTUP_PREDICTION,
            Role.ALTUP_ROUTER,
            Role.LAUREL_LEFT,
            Role.LAUREL_RIGHT,
            Role.SHARED_BLOCK_OUT,
            Role.ADAPTER_DOWN,
            Role.ADAPTER_UP,
        ),
        Group.MLP,
    ),
    Role.QUERY: Group.ATTENTION,
    Role.KEY: Group.ATTENTION,
    Role.VALUE: Group.ATTENTION,
    Role.QKV: Group.ATTENTION,
    Role.ATTENTION_OUTPUT: Group.ATTENTION,
    **dict.fromkeys(
        (
            Role.ATTENTION_GATE,
            Role.ATTENTION_SINKS,
            Role.QUERY_DOWN,
            Role.QUERY_UP,
            Role.LATENT,
            Role.LATENT_UP,
            Role.LATENT_KEY,
            Role.LATENT_VALUE,
        ),
        Group.ATTENTION,
    ),
    **dict.fromkeys((Role.CONV_IN, Role.CONV, Role.CONV_OUT), Group.ATTENTION),  # mix tokens in its place
    **dict.fromkeys(
        (
            Role.SSM_IN,
            Role.SSM_CONV,
            Role.SSM_X,
            Role.SSM_DT,
            Role.SSM_A,
            Role.SSM_D,
            Role.SSM_ALPHA,
            Role.SSM_BETA,
            Role.SSM_BETA_ALPHA,
            Role.SSM_OUT,
        ),
        Group.ATTENTION,
    ),
    **dict.fromkeys((Role.ROUTING_BIAS, Role.EXPERTS_IN, Role.EXPERTS_OUT), Group.MLP),
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
            Role.QUERY_DOWN_NORM,
            Role.LATENT_NORM,
            Role.SSM_DT_NORM,
            Role.SSM_B_NORM,
            Role.SSM_C_NORM,
            Role.SSM_NORM,
            Role.POST_ATTENTION_NORM,
            Role.MLP_NORM,
            Role.MLP_SUB_NORM,
            Role.POST_MLP_NORM,
            Role.POST_MLP_NORM_1,
            Role.PRE_EXPERTS_NORM,
            Role.POST_EXPERTS_NORM,
            Role.PER_LAYER_NORM,
            Role.POST_PER_LAYER_NORM,
            Role.ALTUP_ROUTER_NORM,
            Role.LAUREL_NORM,
            Role.ROPE_FACTORS,
            Role.LAYER_SCALE,
            Role.OUTPUT_NORM,
        ),
        Group.NORM,
    ),
}


class TensorSpec(NamedTuple):
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
    is_bias: bool = False  # the bias that belongs to a matrix (or norm) of the same role

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


Layers = range | tuple[int | None, ...]


# A tensor that is alike in several layers: that of the first of them, and the layers; (None,): outside them.
TensorGroup = tuple[TensorSpec, Layers]


def each_by_itself(specs: Iterable[TensorSpec]) -> tuple[TensorGroup, ...]:
    """Return a group for each tensor."""
    return tuple((spec, (spec.layer,)) for spec in specs)


def matrix(
    role: Role, name: str, rows: int, columns: int, layer: int | None, *, bias: bool = False
) -> tuple[TensorSpec, ...]:
    """List a weight matrix and, with `bias`, its bias."""
    weight = TensorSpec(f"{name}.weight", (rows, columns), role, layer, Access.MATMUL)
    return (weight, bias_of(role, name, rows, layer)) if bias else (weight,)


def bias_of(role: Role, name: str, rows: int, layer: int | None) -> TensorSpec:
    """Return the bias of a matrix, or of a head whose matrix is tied."""
    return TensorSpec(f"{name}.bias", (rows,), role, layer, Access.VECTOR, is_bias=True)


def vector(role: Role, name: str, shape: tuple[int, ...], layer: int | None) -> TensorSpec:
    """Return a tensor that is used element by element, such as the weight of a norm."""
    return TensorSpec(name, shape, role, layer, Access.VECTOR)


def depthwise_convolution(
    role: Role, name: str, channels: int, kernel: int, layer: int | None, *, bias: bool
) -> Iterator[TensorSpec]:
    """List one filter for each channel and, with `bias`, their biases."""
    yield vector(role, f"{name}.weight", (channels, 1, kernel), layer)
    if bias:
        yield bias_of(role, name, channels, layer)
