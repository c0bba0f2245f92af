"""Every weight tensor of an architecture, once: the single source of shapes and parameter counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import count, zip_longest
from typing import TYPE_CHECKING, NamedTuple

from sizer.architecture import Architecture, BlockNorms, NormKind, PositionKind
from sizer.parameter_counts import ParameterCounts
from sizer.tensor_spec import (
    Access,
    Group,
    Layers,
    Role,
    TensorGroup,
    TensorSpec,
    bias_of,
    depthwise_convolution,
    each_by_itself,
    matrix,
    vector,
)

if TYPE_CHECKING:
    from sizer.architecture import Recurrent

__all__ = [
    "Access",
    "Group",
    "ParameterCounts",
    "Role",
    "TensorGroup",
    "TensorSpec",
    "count_parameters",
    "each_by_itself",
    "mtp_note",
    "mtp_parameters",
    "parameters_of",
    "tensor_groups",
    "tensor_specs",
]


# A search or a solve asks for the same few lists again and again (hundreds of tensors each).
# A list of ten thousand layers, which only a broken or hostile file has, takes 20 MB and is not kept.
@lru_cache(maxsize=256)
def _kept_specs(architecture: Architecture) -> tuple[TensorSpec, ...]:
    return tuple(_specs(architecture, range(architecture.num_layers)))


_MAX_KEPT_LAYERS = 400


def tensor_specs(architecture: Architecture) -> tuple[TensorSpec, ...]:
    """List every weight tensor once: shared blocks once, a tied head not (its embedding is a matmul)."""
    if architecture.num_layers > _MAX_KEPT_LAYERS:
        return tuple(_specs(architecture, range(architecture.num_layers)))
    return _kept_specs(architecture)


@lru_cache(maxsize=256)
def tensor_groups(architecture: Architecture) -> tuple[TensorGroup, ...]:
    """List the tensors of `tensor_specs` in groups: the first layer of a kind stands for all of that kind."""
    alike = _layers_alike(architecture)
    specs = _specs(architecture, alike)
    return tuple([(spec, (None,) if spec.layer is None else alike[spec.layer]) for spec in specs])


def _layers_alike(a: Architecture) -> Mapping[int, Layers]:
    """Return the layers that have the same tensors, by the first of them."""
    if not (a.layers_differ or a.shared_mlp):
        return {0: range(a.num_layers)}
    kinds: dict[object, list[int]] = {}
    for layer, kind in enumerate(_layer_kinds(a)):
        kinds.setdefault(kind, []).append(layer)
    return {layers[0]: tuple(layers) for layers in kinds.values()}


def _layer_kinds(a: Architecture) -> Iterator[object]:
    """Return for each layer what decides on its tensors: `_blocks` asks for nothing else."""
    mixers = _Mixers.of(a)
    members = (
        *(mixers.without_attention, mixers.convolutions, mixers.wide_attention, frozenset(mixers.recurrent)),
        *map(frozenset, (a.layers_without_mixer, a.layers_without_mlp, a.dense_layers)),
    )
    recurrent = {layer: tuple(name for name, _ in kinds) for layer, kinds in mixers.recurrent.items()}
    uses = _uses(a)
    sizes = dict(enumerate(zip_longest(a.layer_num_heads, a.layer_intermediate_sizes)))
    sharing_from = a.num_layers - a.shared_kv_layers
    for layer in range(a.num_layers):
        yield (
            *(layer in some for some in members),
            *(recurrent.get(layer), uses.get(layer), sizes.get(layer), layer >= sharing_from),
            a.shared_mlp and layer == 0,
        )


def _uses(a: Architecture) -> Mapping[int, int]:
    """Return how many layers before a layer use a shared block, of each layer that uses one."""
    shared = a.shared_transformer
    return dict(zip(shared.layers, count(), strict=False)) if shared is not None else {}


def _specs(a: Architecture, layers: Iterable[int]) -> Iterator[TensorSpec]:
    """List the tensors outside the layers and those of some layers."""
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
        yield from matrix(Role.EMBEDDING_IN, "model.project_in", a.hidden_size, width, None)
        yield from matrix(Role.EMBEDDING_OUT, "model.project_out", width, a.hidden_size, None)
    if a.per_layer_inputs is not None:
        yield from a.per_layer_inputs.table_tensors(a.num_layers, a.hidden_size)
    if a.embedding_norm:
        yield from _norm(a, Role.EMBEDDING_NORM, "model.embed_norm", a.hidden_size, None)
    yield from _blocks(a, layers)
    if a.final_norm:
        # LFM2 and its GGUF files call it the embedding's
        role = Role.EMBEDDING_NORM if a.conv_layers else Role.OUTPUT_NORM
        yield from _norm(a, role, "model.norm", a.hidden_size, None)
    if not a.tie_embeddings:
        yield from matrix(Role.OUTPUT, "lm_head", a.vocab_size, a.embedding_width, None, bias=a.head_bias)
    elif a.head_bias:
        yield bias_of(Role.OUTPUT, "lm_head", a.vocab_size, None)


class _Mixers(NamedTuple):
    """What mixes tokens in each layer that does not do so by attention alone."""

    without_attention: frozenset[int]
    convolutions: frozenset[int]
    recurrent: Mapping[int, list[tuple[str, Recurrent]]]
    wide_attention: frozenset[int]

    @classmethod
    def of(cls, a: Architecture) -> _Mixers:
        """Look the layers up once: a model has up to 10,000."""
        recurrent: dict[int, list[tuple[str, Recurrent]]] = {}
        for name, kind in a.recurrent:
            for layer in kind.layers:
                recurrent.setdefault(layer, []).append((name, kind))
        wide = frozenset(a.global_attention.layers if a.global_attention else ())
        return cls(a.layers_without_attention, frozenset(a.conv_layers), recurrent, wide)


def _blocks(a: Architecture, layers: Iterable[int]) -> Iterator[TensorSpec]:
    """List the tensors of some layers."""
    mixers = _Mixers.of(a)
    without_mixer, without_mlp = frozenset(a.layers_without_mixer), frozenset(a.layers_without_mlp)
    dense = frozenset(a.dense_layers)
    uses = _uses(a)
    for layer in layers:
        if a.shared_transformer is not None and layer in uses:
            yield from a.shared_transformer.tensors(layer, uses[layer], a)
        if layer not in without_mixer:
            yield from _mixer(a, layer, mixers)
        if layer not in without_mlp:
            experts = a.num_experts > 0 and layer not in dense
            yield from _feed_forward(a, layer, experts=experts, alone=layer in without_mixer)
        if a.per_layer_inputs is not None:
            yield from a.per_layer_inputs.block_tensors(a.hidden_size, f"model.layers.{layer}", layer)
    if a.global_attention is not None:
        yield from a.global_attention.file_tensors(layers)


def _mixer(a: Architecture, layer: int, mixers: _Mixers) -> Iterator[TensorSpec]:
    """List what mixes tokens in a layer, with its norms: attention, what replaces it or runs in parallel."""
    prefix = f"model.layers.{layer}"
    d, norms = a.hidden_size, a.block_norms
    if norms is not BlockNorms.POST:
        yield from _norm(a, Role.ATTENTION_NORM, f"{prefix}.input_layernorm", d, layer)
    if layer in mixers.convolutions:
        yield from _short_conv(a, f"{prefix}.conv", layer)
    for name, kind in mixers.recurrent.get(layer, ()):
        yield from kind.tensors(d, f"{prefix}.{name}", layer)
    if layer not in mixers.without_attention:
        if a.latent_attention is None:
            yield from _attention(a, f"{prefix}.self_attn", layer, is_wide=layer in mixers.wide_attention)
        else:
            yield from a.latent_attention.tensors(a.num_heads, d, f"{prefix}.self_attn", layer)
    # Hugging Face's post_attention_layernorm is Llama's norm before the MLP, but Gemma 2's and OLMo 2's after
    # attention.
    if norms in (BlockNorms.POST, BlockNorms.BOTH):
        yield from _norm(a, Role.POST_ATTENTION_NORM, f"{prefix}.post_attention_layernorm", d, layer)


def _feed_forward(a: Architecture, layer: int, *, experts: bool, alone: bool) -> Iterator[TensorSpec]:
    """List the feed-forward block of a layer, or its experts, with their norms."""
    prefix = f"model.layers.{layer}"
    d, norms = a.hidden_size, a.block_norms
    if norms is BlockNorms.PRE:
        yield from _norm(a, _mlp_norm(a, alone), f"{prefix}.post_attention_layernorm", d, layer)
    elif norms is BlockNorms.BOTH:
        yield from _norm(a, Role.MLP_NORM, f"{prefix}.pre_feedforward_layernorm", d, layer)
    if experts:
        yield from _experts(a, f"{prefix}.mlp", layer)
        if a.experts_beside_mlp:
            yield from _mlp(a, f"{prefix}.mlp", layer)
            for role, name in (
                (Role.POST_MLP_NORM_1, "post_feedforward_layernorm_1"),
                (Role.PRE_EXPERTS_NORM, "pre_feedforward_layernorm_2"),
                (Role.POST_EXPERTS_NORM, "post_feedforward_layernorm_2"),
            ):
                yield from _norm(a, role, f"{prefix}.{name}", d, layer)
            yield vector(Role.ROUTER_SCALE, f"{prefix}.router.scale", (d,), layer)
            yield vector(Role.EXPERT_SCALES, f"{prefix}.router.per_expert_scale", (a.num_experts,), layer)
    elif layer == 0 or not a.shared_mlp:
        yield from _mlp(a, f"{prefix}.mlp", layer)
    if norms in (BlockNorms.POST, BlockNorms.BOTH):
        yield from _norm(a, Role.POST_MLP_NORM, f"{prefix}.post_feedforward_layernorm", d, layer)


def _mlp_norm(a: Architecture, alone: bool) -> Role:
    """Return the role of the norm before a feed-forward block, after the names of GGUF files."""
    if alone:
        return Role.ATTENTION_NORM
    return Role.POST_ATTENTION_NORM if a.expert_bias or a.attention_gate else Role.MLP_NORM


def _attention(a: Architecture, prefix: str, layer: int, *, is_wide: bool) -> Iterator[TensorSpec]:
    d, q, kv, head_dim = a.hidden_size, a.q_width, a.kv_width, a.head_dim
    shares = layer >= a.num_layers - a.shared_kv_layers and not a.shared_kv_is_stored
    no_value = shares
    if a.global_attention is not None and is_wide:
        head_dim = a.global_attention.head_dim
        q, kv = a.num_heads * head_dim, a.global_attention.num_kv_heads * head_dim
        no_value = shares or a.global_attention.keys_are_values
    if a.layer_num_heads:
        q = a.layer_num_heads[layer] * a.head_dim
        kv = q // (a.num_heads // a.num_kv_heads)
    if a.fused_qkv:
        yield from matrix(Role.QKV, f"{prefix}.qkv_proj", q + 2 * kv, d, layer, bias=a.qkv_bias)
    else:
        queries = 2 * q if a.attention_gate else q  # and as many gates
        yield from matrix(Role.QUERY, f"{prefix}.q_proj", queries, d, layer, bias=a.qkv_bias)
        if not shares:
            yield from matrix(Role.KEY, f"{prefix}.k_proj", kv, d, layer, bias=a.qkv_bias)
        if not no_value:
            yield from matrix(Role.VALUE, f"{prefix}.v_proj", kv, d, layer, bias=a.qkv_bias)
    if a.qk_norm:
        normed = ((Role.QUERY_NORM, "q_norm", q), (Role.KEY_NORM, "k_norm", kv))
        for role, name, width in normed[:1] if shares else normed:
            if a.qk_norm_each_head:
                # layer norms without biases (StableLmLayerNormPerHead), all heads in one tensor as in GGUF
                heads = (width // a.head_dim, a.head_dim)
                yield vector(role, f"{prefix}.{name}.weight", heads, layer)
            else:
                norm_width = width if a.qk_norm_all_heads else head_dim
                yield from _norm(a, role, f"{prefix}.{name}", norm_width, layer)
    if a.attention_sinks:
        yield vector(Role.ATTENTION_SINKS, f"{prefix}.sinks", (a.num_heads,), layer)
    if a.sub_norms:
        yield from _norm(a, Role.ATTENTION_SUB_NORM, f"{prefix}.attn_sub_norm", q, layer)
    yield from matrix(Role.ATTENTION_OUTPUT, f"{prefix}.o_proj", d, q, layer, bias=a.attention_output_bias)


def _short_conv(a: Architecture, prefix: str, layer: int) -> Iterator[TensorSpec]:
    d = a.hidden_size
    yield from matrix(Role.CONV_IN, f"{prefix}.in_proj", 3 * d, d, layer, bias=a.conv_bias)
    yield from depthwise_convolution(Role.CONV, f"{prefix}.conv", d, a.conv_kernel, layer, bias=a.conv_bias)
    yield from matrix(Role.CONV_OUT, f"{prefix}.out_proj", d, d, layer, bias=a.conv_bias)


def _mlp(a: Architecture, prefix: str, layer: int) -> Iterator[TensorSpec]:
    d = a.hidden_size
    ff = a.layer_intermediate_sizes[layer] if a.layer_intermediate_sizes else a.intermediate_size
    if a.mlp.gated and a.fused_gate_up:
        yield from matrix(Role.GATE_UP, f"{prefix}.gate_up_proj", 2 * ff, d, layer, bias=a.mlp_bias)
    else:
        if a.mlp.gated:
            yield from matrix(Role.GATE, f"{prefix}.gate_proj", ff, d, layer, bias=a.mlp_bias)
        yield from matrix(Role.UP, f"{prefix}.up_proj", ff, d, layer, bias=a.mlp_bias)
    if a.sub_norms:
        yield from _norm(a, Role.MLP_SUB_NORM, f"{prefix}.ffn_sub_norm", ff, layer)
    yield from matrix(Role.DOWN, f"{prefix}.down_proj", d, ff, layer, bias=a.mlp_bias)


def _experts(a: Architecture, prefix: str, layer: int) -> Iterator[TensorSpec]:
    """Return the router and experts, each kind of matrix one tensor as in GGUF files.

    Hugging Face's files fuse gate and up (granitemoe) or hold the experts one by one (olmoe, qwen3_moe).
    """
    d, ff, shared = a.hidden_size, a.expert_width, a.shared_expert_intermediate_size
    yield from matrix(Role.ROUTER, f"{prefix}.gate", a.num_experts, d, layer, bias=a.expert_bias)
    if a.routing_bias and not a.routing_bias_is_buffer:
        yield bias_of(Role.ROUTING_BIAS, f"{prefix}.gate.e_score_correction", a.num_experts, layer)
    width = d
    if a.moe_latent_size is not None:
        width = a.moe_latent_size
        yield from matrix(Role.EXPERTS_IN, f"{prefix}.fc1_latent_proj", width, d, layer, bias=a.mlp_bias)
        yield from matrix(Role.EXPERTS_OUT, f"{prefix}.fc2_latent_proj", d, width, layer, bias=a.mlp_bias)
    gate = ((Role.GATE_EXPERTS, "gate_proj", ff, width),) if a.mlp.gated else ()
    for role, name, rows, columns in (
        *gate,
        (Role.UP_EXPERTS, "up_proj", ff, width),
        (Role.DOWN_EXPERTS, "down_proj", width, ff),
    ):
        yield TensorSpec(
            name=f"{prefix}.experts.{name}.weight",
            shape=(a.num_experts, rows, columns),
            role=role,
            layer=layer,
            access=Access.MATMUL,
            used_experts=a.num_experts_per_tok,
        )
        if a.expert_bias:
            yield TensorSpec(
                name=f"{prefix}.experts.{name}.bias",
                shape=(a.num_experts, rows),
                role=role,
                layer=layer,
                access=Access.VECTOR,
                used_experts=a.num_experts_per_tok,
                is_bias=True,
            )
    if shared:
        prefix = f"{prefix}.shared_expert"
        bias = a.mlp_bias
        if a.mlp.gated:
            yield from matrix(Role.GATE_SHARED, f"{prefix}.gate_proj", shared, d, layer, bias=bias)
        yield from matrix(Role.UP_SHARED, f"{prefix}.up_proj", shared, d, layer, bias=bias)
        yield from matrix(Role.DOWN_SHARED, f"{prefix}.down_proj", d, shared, layer, bias=bias)
    if a.shared_expert_gate:
        yield from matrix(Role.SHARED_ROUTER, f"{prefix}_gate", 1, d, layer)


def _norm(a: Architecture, role: Role, name: str, width: int, layer: int | None) -> tuple[TensorSpec, ...]:
    if a.norm is NormKind.NONE:
        return ()
    weight = TensorSpec(f"{name}.weight", (width,), role, layer, Access.VECTOR)
    return (weight, bias_of(role, name, width, layer)) if a.norm is NormKind.LAYERNORM else (weight,)


def mtp_parameters(a: Architecture) -> int:
    """Count the weights of layers for multi-token prediction, which `tensor_specs` leaves out.

    Each is a block like the last one with attention, a matrix that joins a hidden state with the next token's
    embedding, and three norms (DeepSeek-V3, arXiv 2412.19437, section 2.2); table and head are the model's.
    """
    if not a.mtp_layers:
        return 0
    attends = [layer for layer in range(a.num_layers) if layer not in a.layers_without_attention]
    block = sum(s.num_elements for s in tensor_specs(a) if s.layer is not None and s.layer == attends[-1])
    return a.mtp_layers * (block + 2 * a.hidden_size**2 + 3 * a.hidden_size)


def mtp_note(a: Architecture) -> str:
    """Return what a user should know about layers for multi-token prediction, which no count includes."""
    layers = "1 layer" if a.mtp_layers == 1 else f"{a.mtp_layers} layers"
    return (
        f"{layers} for multi-token prediction ({mtp_parameters(a):,} parameters) not counted: files that "
        "keep them are larger by as many weights"
    )


def parameters_of(architecture: Architecture) -> ParameterCounts:
    """Count the weights of an architecture by part."""
    return _counts(tensor_groups(architecture))


def count_parameters(specs: Iterable[TensorSpec]) -> ParameterCounts:
    """Number of weights by group, from the tensor list."""
    return _counts(each_by_itself(specs))


_PARTS = tuple(Group)


def _counts(groups: Iterable[TensorGroup]) -> ParameterCounts:
    sums = dict.fromkeys(_PARTS, 0)
    inactive = 0
    for spec, layers in groups:
        weights = len(layers) * spec.num_elements
        sums[spec.role.group] += weights
        if spec.used_experts is not None:
            inactive += weights - len(layers) * spec.active_elements
    return ParameterCounts(**sums, inactive=inactive)
