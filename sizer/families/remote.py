"""Families whose code comes with the model: keys and defaults are those of their public config.json files.

No release of transformers states sizes for them, so sizes have no default here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sizer.architecture import Architecture, MlpKind, NormKind, PositionKind
from sizer.errors import InvalidArchitecture
from sizer.families.config_keys import (
    Config,
    Reader,
    activation,
    flag,
    head_dim,
    integer,
    own_flags,
    sharing_from_config,
    understood,
)


def _llama_shaped(
    config: Config,
    name: str,
    *,
    tie: bool = False,
    names: Mapping[str, str] | None = None,
    act: str = "hidden_act",
    **fields: Any,
) -> Architecture:
    """Read Llama's keys; `names` are those that a family calls otherwise."""
    called = names or {}

    def sized(key: str, default: int | None = None) -> int:
        return integer(config, called.get(key, key), default)

    hidden, heads = sized("hidden_size"), sized("num_attention_heads")
    return Architecture(
        name=name,
        **{
            "vocab_size": sized("vocab_size"),
            "num_layers": sized("num_hidden_layers"),
            "hidden_size": hidden,
            "intermediate_size": sized("intermediate_size"),
            "num_heads": heads,
            "num_kv_heads": sized("num_key_value_heads", heads),
            "head_dim": head_dim(config, hidden, heads),
            "mlp": activation(config, act, "silu", gated=True),
            "tie_embeddings": flag(config, "tie_word_embeddings", tie),
            "mlp_bias": flag(config, "mlp_bias", False),
            "max_position_embeddings": sized("max_position_embeddings", 2048),
            "sharing": sharing_from_config(config.get("sharing")),
            **own_flags(config),
            **fields,
        },
    )


def _mobilellm(config: Config, name: str) -> Architecture:
    """Read MobileLLM: its files have tie_word_embeddings false, but `share_embedding` decides."""
    shared = flag(config, "share_embedding", True)
    layer_sharing = {"strategy": "immediate", "repeat": 2} if flag(config, "layer_sharing", False) else None
    sharing = config.get("sharing", layer_sharing)
    understood(config, "tie_word_embeddings")
    return _llama_shaped(
        config, name, tie=shared, tie_embeddings=shared, sharing=sharing_from_config(sharing)
    )


def _minicpm(config: Config, name: str) -> Architecture:
    return _llama_shaped(config, name, tie=True)


def _plain(config: Config, name: str) -> Architecture:
    """Read Yi, Aquila and XVERSE: Llama under another name."""
    return _llama_shaped(config, name)


def _orion(config: Config, name: str) -> Architecture:
    """Read Orion: Llama with biased layer norms."""
    return _llama_shaped(config, name, norm=NormKind.LAYERNORM)


def _exaone(config: Config, name: str) -> Architecture:
    """Read EXAONE 3: Llama's tensors under other names."""
    return _llama_shaped(config, name, names={"num_hidden_layers": "num_layers"}, act="activation_function")


def _internlm(config: Config, name: str) -> Architecture:
    """Read InternLM: biases in attention; 2 has one matrix for three, which its GGUF files have apart."""
    bias = flag(config, "bias", config["model_type"] == "internlm")
    return _llama_shaped(config, name, qkv_bias=bias, attention_output_bias=bias)


def _mimo(config: Config, name: str) -> Architecture:
    """Read MiMo: Qwen2's tensors; its layers for multi-token prediction are apart and not counted."""
    return _llama_shaped(config, name, qkv_bias=flag(config, "attention_bias", True))


_BAICHUAN_13B_LAYERS = 40


def _baichuan(config: Config, name: str) -> Architecture:
    """Read Baichuan: rotary positions in 7B, ALiBi in 13B, which its code distinguishes by class alone."""
    names = {} if "max_position_embeddings" in config else {"max_position_embeddings": "model_max_length"}
    large = config.get("num_hidden_layers") == _BAICHUAN_13B_LAYERS
    return _llama_shaped(
        config, name, names=names, position=PositionKind.ALIBI if large else PositionKind.ROPE
    )


def _qwen(config: Config, name: str) -> Architecture:
    """Read the first Qwen: one biased matrix for three, and an FFN half as wide as intermediate_size."""
    width = integer(config, "intermediate_size")
    if width % 2:
        raise InvalidArchitecture(f"intermediate_size: expected an even number, got {width}")
    understood(config, "kv_channels", "no_bias", "use_dynamic_ntk", "use_logn_attn", "onnx_safe")
    return _llama_shaped(
        config,
        name,
        names={"max_position_embeddings": "seq_length"},
        intermediate_size=width // 2,
        fused_qkv=True,
        qkv_bias=True,
        attention_output_bias=not flag(config, "no_bias", True),
        mlp_bias=False,
    )


def _chatglm(config: Config, name: str) -> Architecture:
    """Read ChatGLM 2 and later: gate and up are one matrix, and so are query, key and value."""
    names = {
        "vocab_size": "padded_vocab_size",
        "num_hidden_layers": "num_layers",
        "intermediate_size": "ffn_hidden_size",
        "max_position_embeddings": "seq_length",
    }
    heads = integer(config, "num_attention_heads")
    grouped = flag(config, "multi_query_attention", False)
    biased = flag(config, "add_bias_linear", False)
    understood(config, "kv_channels", "rmsnorm", "post_layer_norm", "multi_query_group_num")
    understood(config, "apply_query_key_layer_scaling", "bias_dropout_fusion", "original_rope", "vocab_size")
    return _llama_shaped(
        config,
        name,
        names=names,
        num_kv_heads=integer(config, "multi_query_group_num", 1) if grouped else heads,
        head_dim=integer(config, "kv_channels", 128),
        fused_qkv=True,
        fused_gate_up=True,
        qkv_bias=biased or flag(config, "add_qkv_bias", False),
        attention_output_bias=biased,
        mlp_bias=biased,
    )


def _phi3small(config: Config, name: str) -> Architecture:
    """Read Phi-3-small: GEGLU, biases everywhere, biased layer norms, a tied head."""
    understood(config, "hidden_act", "ff_dim_multiplier", "gegelu_limit", "gegelu_pad_to_256")
    return _llama_shaped(
        config,
        name,
        tie=True,
        names={"intermediate_size": "ff_intermediate_size"},
        act="mlp_activation",  # its own name, gegelu, is no activation of transformers
        mlp=MlpKind.GEGLU,
        norm=NormKind.LAYERNORM,
        fused_qkv=True,
        fused_gate_up=True,
        qkv_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
    )


READERS: dict[str, Reader] = {
    **dict.fromkeys(("aquila", "xverse", "Yi"), _plain),
    **dict.fromkeys(("internlm", "internlm2"), _internlm),
    "baichuan": _baichuan,
    "chatglm": _chatglm,
    "exaone": _exaone,
    "mimo": _mimo,
    "minicpm": _minicpm,
    "mobilellm": _mobilellm,
    "orion": _orion,
    "phi3small": _phi3small,
    "qwen": _qwen,
}
