"""Which of llama.cpp's models holds layers of other kinds than Llama's, and how its files hold them.

Rows follow load_arch_tensors of src/models/*.cpp and convert_hf_to_gguf.py of 2026, without having loaded
such files; the tests compare gguf-py's table of names for each of these models, and of some the number of
tensors, bytes and states that llama.cpp's logs have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from sizer.architecture import Architecture, BlockNorms, MlpKind, NormKind, PositionKind

# Fields of a mixture of experts.
_EXPERTS = (
    *("num_experts", "num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size"),
    *("routing_bias", "routing_bias_is_buffer"),
)
# What a shape has where its row states nothing.
_DEFAULTS: Mapping[str, object] = {
    "mlp": MlpKind.SWIGLU,
    "norm": NormKind.RMSNORM,
    "sub_norms": False,
    "shared_mlp": False,
    "conv_bias": False,
    "mlp_bias": False,
    "qkv_bias": False,
    "attention_output_bias": False,
    "qk_norm": False,
    "position": PositionKind.ROPE,
}


class _OtherLayout(NamedTuple):
    """Fields that may differ from Llama's, values that others than the defaults must have, and the rest."""

    fields: tuple[str, ...]
    values: Mapping[str, object]
    holds: Callable[[Architecture], bool]


def _plain_mamba(a: Architecture) -> bool:
    m = a.mamba
    return m is not None and m.conv_bias and not m.bias


def _plain_mamba2(a: Architecture) -> bool:
    m = a.mamba2
    return m is not None and m.conv_bias and not m.input_bias and not m.output_bias


def _in_place_of_attention(a: Architecture) -> bool:
    return _plain_mamba2(a) and a.mamba2 is not None and a.mamba2.gated_norm and not a.mamba2.beside_attention


def _dense_first(a: Architecture) -> bool:
    """Return True if the layers without experts are the first ones (leading_dense_block_count)."""
    return a.dense_layers == tuple(range(len(a.dense_layers)))


def _delta_net(a: Architecture) -> bool:
    net = a.delta_net
    return net is not None and a.attention_gate and net.key_head_dim == net.value_head_dim


def _latent(a: Architecture) -> bool:
    return a.latent_attention is not None and not a.latent_attention.bias


_NO_POSITIONS = {"position": PositionKind.NONE}
_LAYOUTS: Mapping[str, _OtherLayout] = {
    "mamba": _OtherLayout(
        ("mamba", "layers_without_mlp"),
        _NO_POSITIONS,
        lambda a: _plain_mamba(a) and not a.num_heads and a.mamba is not None and not a.mamba.inner_norms,
    ),
    "mamba2": _OtherLayout(
        ("mamba2", "layers_without_mlp"),
        _NO_POSITIONS,
        lambda a: _in_place_of_attention(a) and not a.num_heads,
    ),
    "jamba": _OtherLayout(
        ("mamba", "dense_layers", *_EXPERTS[:4]),
        _NO_POSITIONS,
        lambda a: (
            _plain_mamba(a)
            and a.mamba is not None
            and a.mamba.inner_norms
            and not a.shared_expert_intermediate_size
            and a.expert_width == a.intermediate_size
        ),
    ),
    "falcon-h1": _OtherLayout(
        ("mamba2",), {}, lambda a: _plain_mamba2(a) and a.mamba2 is not None and a.mamba2.beside_attention
    ),
    "granitehybrid": _OtherLayout(
        ("mamba2", *_EXPERTS[:4]),
        {"position": (PositionKind.NONE, PositionKind.ROPE)},
        lambda a: _in_place_of_attention(a) and bool(a.num_heads),
    ),
    "nemotron_h": _OtherLayout(
        (
            *("mamba2", "layers_without_mlp", "layers_without_mixer", "moe_latent_size", "dense_layers"),
            *_EXPERTS,
        ),
        {**_NO_POSITIONS, "mlp": MlpKind.RELU2},
        lambda a: (
            _in_place_of_attention(a)
            and len(a.layers_without_mlp) + len(a.layers_without_mixer) == a.num_layers
        ),
    ),
    "qwen3next": _OtherLayout(
        ("delta_net", "attention_gate", "shared_expert_gate", *_EXPERTS[:4]),
        {"qk_norm": True},
        lambda a: (
            _delta_net(a) and a.delta_net is not None and a.delta_net.fused_beta_alpha and a.num_experts > 0
        ),
    ),
    "qwen35": _OtherLayout(
        ("delta_net", "attention_gate", "shared_expert_gate", *_EXPERTS[:4]),
        {"qk_norm": True},
        lambda a: _delta_net(a) and a.delta_net is not None and not a.delta_net.fused_beta_alpha,
    ),
    "deepseek2": _OtherLayout(
        ("latent_attention", "dense_layers", *_EXPERTS),
        {},
        lambda a: _latent(a) and _dense_first(a) and bool(a.shared_expert_intermediate_size),
    ),
    "minicpm3": _OtherLayout(
        ("latent_attention",),
        {},
        lambda a: _latent(a) and a.latent_attention is not None and a.latent_attention.query_rank is not None,
    ),
    "lfm2moe": _OtherLayout(
        ("conv_layers", "conv_kernel", "dense_layers", *_EXPERTS),
        {"qk_norm": True},
        lambda a: (
            bool(a.conv_layers)
            and a.num_experts > 0
            and _dense_first(a)
            and not a.shared_expert_intermediate_size
        ),
    ),
    "gpt-oss": _OtherLayout(
        ("attention_sinks", "expert_bias", *_EXPERTS[:3]),
        {"qkv_bias": True, "attention_output_bias": True},
        lambda a: a.attention_sinks and a.expert_bias,
    ),
    "gemma3n": _OtherLayout(
        ("per_layer_inputs", "shared_kv_layers", "shared_kv_is_stored", "block_norms"),
        {
            "mlp": MlpKind.GEGLU,
            "qk_norm": True,
            "block_norms": BlockNorms.BOTH,
            "tie_embeddings": True,
        },
        lambda a: (
            a.per_layer_inputs is not None
            and a.per_layer_inputs.altup_inputs is not None
            and a.per_layer_inputs.laurel_rank is not None
        ),
    ),
    "gemma4": _OtherLayout(
        (
            *("global_attention", "shared_kv_layers", "shared_kv_is_stored", "per_layer_inputs"),
            *("block_norms",),
            *("experts_beside_mlp", "layer_intermediate_sizes", *_EXPERTS[:3]),
        ),
        {
            "mlp": MlpKind.GEGLU,
            "qk_norm": True,
            "block_norms": BlockNorms.BOTH,
            "tie_embeddings": True,
        },
        lambda a: (
            a.global_attention is not None
            and a.experts_beside_mlp == bool(a.num_experts)
            and (a.per_layer_inputs is None or a.per_layer_inputs.altup_inputs is None)
        ),
    ),
    # DeepSeek's first, dots, GLM 4, Hunyuan, ERNIE 4.5, Llama 4: dense layers first, or in turns with experts
    "experts": _OtherLayout(
        ("dense_layers", *_EXPERTS, "qk_norm_all_heads", "shared_expert_gate"),
        {"qk_norm": (True, False), "qkv_bias": (True, False), "attention_output_bias": (True, False)},
        lambda a: a.num_experts > 0 and (_dense_first(a) or _in_turns(a)),
    ),
}


def _in_turns(a: Architecture) -> bool:
    """Return True for experts in every n-th layer (llama4's interleave_moe_layer_step)."""
    step = next((layer + 1 for layer in range(a.num_layers) if layer not in a.dense_layers), 1)
    return not a.qk_norm and a.dense_layers == tuple(i for i in range(a.num_layers) if (i + 1) % step)


def other_layout(a: Architecture) -> str | None:
    """Return the name of the llama.cpp model (general.architecture) that holds such layers; None if none."""
    beyond = a.beyond_llama
    for name, row in _LAYOUTS.items():
        if any(field not in row.fields for field in beyond):
            continue
        if all(_has(a, *item) for item in {**_DEFAULTS, **row.values}.items()) and row.holds(a):
            return name
    return None


def _has(a: Architecture, field: str, wanted: object) -> bool:
    value = getattr(a, field)
    return value in wanted if isinstance(wanted, tuple) else value == wanted


def as_in_file(a: Architecture, layout: str | None) -> Architecture:
    """Return the shape whose tensors are those of the file: what converters split, pad and write besides.

    Gemma 3n's and 4's files hold keys and values of all layers and as many per-layer rows as the vocabulary.
    """
    if a.routing_bias_is_buffer:
        a = replace(a, routing_bias_is_buffer=False)
    if layout == "qwen3next" and a.delta_net is not None:
        return replace(a, delta_net=replace(a.delta_net, fused_projections=False))
    if layout == "deepseek2" and a.latent_attention is not None:
        return replace(a, latent_attention=replace(a.latent_attention, split=True))
    if layout in ("gemma3n", "gemma4"):
        inputs, wide = a.per_layer_inputs, a.global_attention
        return replace(
            a,
            per_layer_inputs=inputs and replace(inputs, vocab_size=a.vocab_size),
            global_attention=wide and replace(wide, in_file=True),
            shared_kv_is_stored=True,
        )
    return a


def query_groups(a: Architecture) -> int:
    """Return query heads per KV head as llama.cpp reads them of the first layer (llama_hparams::n_gqa).

    Latent attention has one KV head in DeepSeek's files; a layer of another kind has none, but for Qwen's
    delta nets, whose files state one number for all layers.
    """
    if 0 in a.layers_without_attention and a.delta_net is None:
        return 0
    if a.latent_attention is not None and a.latent_attention.split:
        return a.num_heads
    return a.num_heads // max(a.num_kv_heads, 1)
