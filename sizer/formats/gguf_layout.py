"""Which of llama.cpp's models holds a shape in its GGUF file, and what of its attention llama.cpp uses.

Rows are what load_arch_tensors of src/models/*.cpp asks for in the build of llama-cpp-python 0.3.36: a file
with more tensors, fewer, or others is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from sizer.architecture import Architecture, BlockNorms, MlpKind, NormKind, PositionKind

_ANY = object()

_GEMMA: Mapping[str, object] = {
    "block_norms": BlockNorms.BOTH,
    "mlp": MlpKind.GEGLU,
    "tie_embeddings": True,
    "qkv_bias": False,
}
_BIASED: Mapping[str, object] = {"qkv_bias": True, "attention_output_bias": True, "mlp_bias": True}
_GPT: Mapping[str, object] = {
    **_BIASED,
    "fused_qkv": True,
    "norm": NormKind.LAYERNORM,
    "mlp": MlpKind.GELU,
    "qk_norm": False,
}

_COHERE: Mapping[str, object] = {
    "block_norms": BlockNorms.ONE,
    "norm": NormKind.LAYERNORM_WITHOUT_BIAS,
    "tie_embeddings": True,
    "qkv_bias": False,
}

# Fields a shape must have; those it does not name must be as in Llama. Names: general.architecture.
_LAYOUTS: Mapping[str, Mapping[str, object]] = {
    "gemma2": {**_GEMMA, "qk_norm": False},
    "gemma3": {**_GEMMA, "qk_norm": True},
    "phi3": {"fused_qkv": True, "fused_gate_up": True, "qkv_bias": False, "qk_norm": False},
    "phi2": {
        **_BIASED,
        "block_norms": BlockNorms.ONE,
        "head_bias": True,
        "norm": NormKind.LAYERNORM,
        "mlp": MlpKind.GELU,
        "tie_embeddings": False,
        "qk_norm": False,
    },
    "starcoder": {**_GPT, "position": PositionKind.LEARNED},
    "gpt2": {**_GPT, "position": PositionKind.LEARNED},
    "mpt": {
        "fused_qkv": True,
        "norm": NormKind.LAYERNORM_WITHOUT_BIAS,
        "position": PositionKind.ALIBI,
        "mlp": MlpKind.GELU,
        "qkv_bias": False,
        "qk_norm": False,
    },
    "gptneox": {**_GPT, "tie_embeddings": False},
    "bloom": {**_GPT, "position": PositionKind.ALIBI, "embedding_norm": True},
    "falcon": {
        "fused_qkv": True,
        "block_norms": BlockNorms.ONE,
        "norm": NormKind.LAYERNORM,
        "mlp": MlpKind.GELU,
        "qkv_bias": False,
        "qk_norm": False,
    },
    "stablelm": {
        "block_norms": BlockNorms.ONE,
        "norm": NormKind.LAYERNORM,
        "tie_embeddings": False,
        "attention_output_bias": False,
        "qk_norm": False,
    },
    "olmo2": {
        "block_norms": BlockNorms.POST,
        "qk_norm": True,
        "qk_norm_all_heads": True,
        "tie_embeddings": False,
        "qkv_bias": False,
    },
    "exaone4": {"block_norms": BlockNorms.POST, "qk_norm": True, "qkv_bias": False},
    "cohere2": {**_COHERE, "qk_norm": False, "sliding_layers": _ANY},
    "command-r": {**_COHERE, "qk_norm": _ANY, "qk_norm_each_head": _ANY},
    "chatglm": {"fused_gate_up": True, "fused_qkv": _ANY, "qkv_bias": _ANY, "qk_norm": False},
    "qwen": {"fused_qkv": True, "qkv_bias": True, "qk_norm": False, "tie_embeddings": False},
    "glm4": {"fused_gate_up": True, "block_norms": BlockNorms.BOTH, "qkv_bias": _ANY, "qk_norm": False},
    # Llama but for head counts and FFN sizes, which it reads for each layer; Llama's own takes the first's
    "deci": {"layer_intermediate_sizes": _ANY, "qkv_bias": False, "qk_norm": False},
    # Llama but for windows in some layers and a sink for each head, which no other dense model has alone
    "granite_swa": {"attention_sinks": True, "qkv_bias": False, "qk_norm": False},
    "lfm2": {"conv_layers": _ANY, "conv_kernel": _ANY, "qk_norm": True, "qkv_bias": False},
    "openelm": {
        "fused_qkv": True,
        "fused_gate_up": _ANY,  # fused in its checkpoints, apart in GGUF files
        "qk_norm": True,
        "layer_num_heads": _ANY,
        "layer_intermediate_sizes": _ANY,
        "qkv_bias": False,
        "tie_embeddings": True,
    },
}

# Fields of a mixture of experts whose layout is known, where every layer has experts.
_KNOWN_OF_EXPERTS = (
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "shared_expert_gate",
    "qk_norm_all_heads",  # OLMoE
)

# What a shape that is unlike Llama's has where its row states nothing.
_LLAMA: Mapping[str, object] = {
    "mlp": MlpKind.SWIGLU,
    "norm": NormKind.RMSNORM,
    "position": PositionKind.ROPE,
    "sub_norms": False,
    "shared_mlp": False,
    "conv_bias": False,
    "mlp_bias": False,
    "attention_output_bias": False,
}

# Models whose query is as wide as the residual stream: attention's output is n_embd x n_embd in their files.
_OTHER_QUERY_WIDTH = ("gemma2", "gemma3", "openelm", "deci", "granite_swa", "exaone4", "glm4")

# What else a shape must be for a model, in addition to its fields.
_HOLDS: Mapping[str, Callable[[Architecture], bool]] = {
    "starcoder": lambda a: a.num_kv_heads < a.num_heads,
    "cohere2": lambda a: bool(a.sliding_layers),
    "granite_swa": lambda a: bool(a.sliding_layers),
    # Command R+'s norms on query and key are looked for in 64 layers or more
    "command-r": lambda a: a.qk_norm == a.qk_norm_each_head == (a.num_layers >= _COMMAND_R_PLUS_LAYERS),
}
_COMMAND_R_PLUS_LAYERS = 64
_EXAONE_4_32B_LAYERS = 64  # windows of EXAONE 4 are switched on by the number of layers

# Models whose windows llama.cpp uses: phi3's are off; llama (Mistral's files too), qwen2 and qwen3 have none.
_WITH_WINDOWS = (
    *("cohere2", "gemma2", "gemma3", "olmo2", "granite_swa", "lfm2", "gpt-oss", "gemma3n", "gemma4"),
)


# One estimate asks six times.
@lru_cache(maxsize=64)
def gguf_layout(a: Architecture) -> str | None:
    """Return the name of the llama.cpp model that holds this shape; None if none does.

    "llama" stands for all of Llama's kind, "experts" for those with experts in every layer.
    """
    beyond = a.beyond_llama
    if a.num_experts and a.position is PositionKind.ROPE and not set(beyond) - set(_KNOWN_OF_EXPERTS):
        return None if a.mlp_bias or not a.mlp.gated else "experts"
    if not beyond and a.position is PositionKind.ROPE:
        return "llama"
    for name, row in _LAYOUTS.items():
        asked = {**_LLAMA, **row}
        if (
            all(field in row for field in beyond)
            and all(value is _ANY or getattr(a, field) == value for field, value in asked.items())
            and (a.q_width == a.hidden_size or name in _OTHER_QUERY_WIDTH)
            and (name not in _HOLDS or _HOLDS[name](a))
        ):
            return name
    if not beyond:
        return None
    from sizer.formats.gguf_other_layers import other_layout

    return other_layout(a)


def unknown_layout(a: Architecture) -> tuple[str, ...]:
    """Return the facts of a shape that no model of llama.cpp has together; empty where one holds it."""
    if gguf_layout(a):
        return ()
    position = () if a.position is PositionKind.ROPE else (f"position {a.position.value}",)
    known = _KNOWN_OF_EXPERTS if a.num_experts else ()
    return tuple(field for field in a.beyond_llama if field not in known) + position


def windowed_layers(a: Architecture) -> tuple[int, ...]:
    """Return the sliding layers, by index of the run, whose caches llama.cpp keeps as short as the window."""
    layout = gguf_layout(a) if a.sliding_layers else None
    if layout in _WITH_WINDOWS or (layout == "exaone4" and a.num_layers == _EXAONE_4_32B_LAYERS):
        cached = a.executed_layers - a.shared_kv_layers
        return tuple(layer for layer in a.unrolled().sliding_layers if layer < cached)
    return ()
