"""Families with a gated feed-forward block other than Llama's: Phi-3, Gemma, Granite, OLMo, StableLM, BitNet.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`).
"""

from __future__ import annotations

from typing import Any

from sizer.architecture import Architecture, BlockNorms, NormKind
from sizer.families.config_keys import (
    Config,
    Reader,
    activation,
    even_head_dim,
    flag,
    head_dim,
    integer,
    kv_heads,
    sharing_from_config,
    size,
    sliding,
    understood,
)

# Phi3Config, GemmaConfig, ...: vocab_size, hidden_size, intermediate_size, layers, heads, positions.
_SIZES = {
    "phi3": (32064, 3072, 8192, 32, 32, 4096),
    "gemma": (256000, 3072, 24576, 28, 16, 8192),
    "gemma2": (256000, 2304, 9216, 26, 8, 8192),
    "gemma3_text": (262208, 2304, 9216, 26, 8, 131072),
    "granite": (32000, 4096, 11008, 32, 32, 2048),
    "granite_swa": (100352, 2560, 8192, 24, 20, 8192),
    "olmo": (50304, 4096, 11008, 32, 32, 2048),
    "olmo2": (50304, 4096, 11008, 32, 32, 2048),
    "stablelm": (50304, 2560, 6912, 32, 32, 4096),
    "bitnet": (128256, 2560, 6912, 30, 20, 2048),
}


def _sizes(config: Config) -> dict[str, Any]:
    vocab, hidden, intermediate, layers, heads, positions = _SIZES[str(config["model_type"])]
    return {
        "vocab_size": integer(config, "vocab_size", vocab),
        "hidden_size": integer(config, "hidden_size", hidden),
        "intermediate_size": integer(config, "intermediate_size", intermediate),
        "num_layers": integer(config, "num_hidden_layers", layers),
        "num_heads": integer(config, "num_attention_heads", heads),
        "max_position_embeddings": integer(config, "max_position_embeddings", positions),
        "sharing": sharing_from_config(config.get("sharing")),
    }


def _phi3(config: Config, name: str) -> Architecture:
    """Read modeling_phi3.py's shape: qkv_proj and gate_up_proj are one matrix each, no biases."""
    sizes = _sizes(config)
    return Architecture(
        name=name,
        **sizes,
        num_kv_heads=integer(config, "num_key_value_heads", sizes["num_heads"]),
        head_dim=head_dim(config, sizes["hidden_size"], sizes["num_heads"]),
        mlp=activation(config, "hidden_act", "silu", gated=True),
        tie_embeddings=flag(config, "tie_word_embeddings", False),
        fused_qkv=True,
        fused_gate_up=True,
        **sliding(config, sizes["num_layers"], None, lambda layer: True),
    )


# num_key_value_heads of GemmaConfig, Gemma2Config and Gemma3TextConfig, and the key of the activation:
# the first Gemma's files state hidden_act "gelu" whatever hidden_activation is.
_GEMMAS = {
    "gemma": (16, "hidden_act"),
    "gemma2": (4, "hidden_activation"),
    "gemma3_text": (4, "hidden_activation"),
}


def _gemma(config: Config, name: str) -> Architecture:
    """Read modeling_gemma*.py's shape: GeGLU; from 2 on four norms a block, in 3 norms on query and key."""
    model_type = config["model_type"]
    kv_heads, activation_key = _GEMMAS[model_type]
    bias = flag(config, "attention_bias", False)
    sizes = _sizes(config)
    windows = {}
    if model_type != "gemma":
        # every other layer slides, or five of six (layer_types of Gemma*Config)
        period = 2 if model_type == "gemma2" else size(config, "sliding_window_pattern", 6)
        windows = sliding(config, sizes["num_layers"], 4096, lambda layer: bool((layer + 1) % period))
    return Architecture(
        name=name,
        **sizes,
        num_kv_heads=integer(config, "num_key_value_heads", kv_heads),
        head_dim=integer(config, "head_dim", 256),
        mlp=activation(config, activation_key, "gelu_pytorch_tanh", gated=True),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        qkv_bias=bias,
        attention_output_bias=bias,
        qk_norm=model_type == "gemma3_text",
        block_norms=BlockNorms.PRE if model_type == "gemma" else BlockNorms.BOTH,
        **windows,
    )


def _granite(config: Config, name: str) -> Architecture:
    """Read modeling_granite.py's shape: Llama's tensors; its multipliers are numbers, not weights."""
    sizes = _sizes(config)
    bias = flag(config, "attention_bias", False)
    return Architecture(
        name=name,
        **sizes,
        num_kv_heads=integer(config, "num_key_value_heads", sizes["num_heads"]),
        head_dim=head_dim(config, sizes["hidden_size"], sizes["num_heads"]),
        mlp=activation(config, "hidden_act", "silu", gated=True),
        tie_embeddings=flag(config, "tie_word_embeddings", False),
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=flag(config, "mlp_bias", False),
    )


def _granite_swa(config: Config, name: str) -> Architecture:
    """Read modeling_granite_swa.py's shape: Granite's, sinks in its heads, windows in some layers."""
    understood(config, "layer_rope_theta")  # of positions, which have no weights
    sizes = _sizes(config)
    bias = flag(config, "attention_bias", False)
    return Architecture(
        name=name,
        **sizes,
        num_kv_heads=kv_heads(config, sizes["num_heads"], 4),
        head_dim=head_dim(config, sizes["hidden_size"], sizes["num_heads"]),
        mlp=activation(config, "hidden_act", "silu", gated=True),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=flag(config, "mlp_bias", False),
        attention_sinks=True,
        **sliding(config, sizes["num_layers"], 128, lambda layer: bool(layer % 4)),
    )


def _olmo(config: Config, name: str) -> Architecture:
    """Read modeling_olmo.py (norms without weights) or modeling_olmo2.py (norms after, on query and key)."""
    second = config["model_type"] == "olmo2"
    sizes = _sizes(config)
    bias = flag(config, "attention_bias", False)
    return Architecture(
        name=name,
        **sizes,
        num_kv_heads=integer(config, "num_key_value_heads", sizes["num_heads"]),
        head_dim=head_dim(config, sizes["hidden_size"], sizes["num_heads"]),
        mlp=activation(config, "hidden_act", "silu", gated=True),
        norm=NormKind.RMSNORM if second else NormKind.NONE,
        tie_embeddings=flag(config, "tie_word_embeddings", False),
        qkv_bias=bias,
        attention_output_bias=bias,
        qk_norm=second,
        qk_norm_all_heads=second,
        block_norms=BlockNorms.POST if second else BlockNorms.PRE,
    )


def _stablelm(config: Config, name: str) -> Architecture:
    """Read modeling_stablelm.py's shape: biased layer norms, one a block with parallel attention."""
    sizes = _sizes(config)
    norms = flag(config, "qk_layernorm", False)
    return Architecture(
        name=name,
        **sizes,
        num_kv_heads=integer(config, "num_key_value_heads", 32),
        head_dim=even_head_dim(sizes["hidden_size"], sizes["num_heads"]),
        mlp=activation(config, "hidden_act", "silu", gated=True),
        norm=NormKind.LAYERNORM,
        tie_embeddings=flag(config, "tie_word_embeddings", False),
        qk_norm=norms,
        qk_norm_each_head=norms,
        qkv_bias=flag(config, "use_qkv_bias", False),
        block_norms=BlockNorms.ONE if flag(config, "use_parallel_residual", False) else BlockNorms.PRE,
    )


def _bitnet(config: Config, name: str) -> Architecture:
    """Read modeling_bitnet.py's shape: gated squared ReLU, norms before attention's output and down."""
    sizes = _sizes(config)
    bias = flag(config, "attention_bias", False)
    return Architecture(
        name=name,
        **sizes,
        num_kv_heads=integer(config, "num_key_value_heads", 5),
        head_dim=head_dim(config, sizes["hidden_size"], sizes["num_heads"]),
        mlp=activation(config, "hidden_act", "relu2", gated=True),
        tie_embeddings=flag(config, "tie_word_embeddings", False),
        qkv_bias=bias,
        attention_output_bias=bias,
        sub_norms=True,
    )


READERS: dict[str, Reader] = {
    "phi3": _phi3,
    "gemma": _gemma,
    "gemma2": _gemma,
    "gemma3_text": _gemma,
    "granite": _granite,
    "granite_swa": _granite_swa,
    "olmo": _olmo,
    "olmo2": _olmo,
    "stablelm": _stablelm,
    "bitnet": _bitnet,
}
