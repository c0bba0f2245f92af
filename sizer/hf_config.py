"""Hugging Face config.json keys to an Architecture and back, one reader per model family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from sizer.architecture import Architecture, MlpKind, NormKind, PositionKind
from sizer.errors import InvalidArchitecture, UnknownName, shown
from sizer.families.config_keys import (
    Config,
    Reader,
    flag,
    head_dim,
    integer,
    sharing_from_config,
    sliding,
)

__all__ = ["FAMILIES", "architecture_from_config", "config_from_architecture", "sharing_from_config"]

# transformers' defaults for a Llama-shaped config that leaves a key out (LlamaConfig, MistralConfig, ...).
_DEFAULT_MAX_POSITIONS = {"llama": 2048, "mistral": 131072, "qwen2": 32768, "qwen3": 32768}
_ACTIVATIONS = {"silu": MlpKind.SWIGLU, "swish": MlpKind.SWIGLU, "gelu": MlpKind.GEGLU}
# Keys of ours beside Hugging Face's: their models keep these facts in remote code, not in config.json.
_OWN_FLAGS = ("sub_norms", "shared_mlp")
# Keys that add or change tensors in ways these families do not have.
_EXPERT_KEYS = ("num_local_experts", "num_experts")
_UNSUPPORTED = (*_EXPERT_KEYS, "n_routed_experts", "kv_lora_rank", "quantization_config")


def architecture_from_config(config: Config, name: str = "config") -> Architecture:
    """Architecture that a Hugging Face config.json describes; errors name the key and what is accepted."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise InvalidArchitecture(f"model_type: missing or not text; accepted: {', '.join(sorted(FAMILIES))}")
    reader = FAMILIES.get(model_type)
    if reader is None:
        raise UnknownName.of("model_type", model_type, FAMILIES)
    for key in _UNSUPPORTED:
        if config.get(key) and not (model_type in _EXPERTS and key in _EXPERT_KEYS):
            raise InvalidArchitecture(f"{key}: not supported for model_type {model_type!r}")
    return reader(config, name)


def config_from_architecture(architecture: Architecture) -> dict[str, Any]:
    """Hugging Face config keys of an architecture, with `sharing` beside them where blocks are shared.

    Raises InvalidArchitecture for a shape that no family of ours can say.
    """
    a = architecture
    acts = {kind: act for act, kind in _ACTIVATIONS.items() if act != "swish"}
    if a.beyond_llama:
        raise InvalidArchitecture(f"config: no known model_type can say {', '.join(a.beyond_llama)}")
    if a.sliding_layers:
        raise InvalidArchitecture("config: sliding_layers cannot be said; accepted: full attention")
    if a.mlp not in acts or a.norm is not NormKind.RMSNORM or a.position is not PositionKind.ROPE:
        raise InvalidArchitecture(
            f"config: no known model_type has mlp {a.mlp.value}, norm {a.norm.value} and position "
            f"{a.position.value} together"
        )
    model_type = "qwen3" if a.qk_norm else "qwen2" if a.qkv_bias and not a.attention_output_bias else "llama"
    config: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "num_hidden_layers": a.num_layers,
        "num_attention_heads": a.num_heads,
        "num_key_value_heads": a.num_kv_heads,
        "head_dim": a.head_dim,
        "hidden_act": acts[a.mlp],
        "tie_word_embeddings": a.tie_embeddings,
        "max_position_embeddings": a.max_position_embeddings,
    }
    if model_type == "llama":
        config |= {"attention_bias": a.qkv_bias, "mlp_bias": a.mlp_bias}
    config |= {key: True for key in _OWN_FLAGS if getattr(a, key)}
    if a.sharing.repeat > 1:
        config["sharing"] = {"strategy": a.sharing.strategy.value, "repeat": a.sharing.repeat}
    return config


def _decoder(
    config: Config,
    name: str,
    *,
    tie_default: bool,
    bias: bool = False,
    output_bias: bool = False,
    qk_norm: bool = False,
    head_dim_default: int | None = None,
) -> Architecture:
    heads = integer(config, "num_attention_heads")
    activation = config.get("hidden_act", "silu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise InvalidArchitecture(
            f"hidden_act: unknown value {shown(activation)}; accepted: {', '.join(sorted(_ACTIVATIONS))}"
        )
    hidden = integer(config, "hidden_size")
    if head_dim_default is not None:
        width = integer(config, "head_dim", head_dim_default)
    else:
        width = head_dim(config, hidden, heads)
    return Architecture(
        name=name,
        vocab_size=integer(config, "vocab_size"),
        num_layers=integer(config, "num_hidden_layers"),
        hidden_size=hidden,
        intermediate_size=integer(config, "intermediate_size"),
        num_heads=heads,
        num_kv_heads=integer(config, "num_key_value_heads", heads),
        head_dim=width,
        mlp=_ACTIVATIONS[activation],
        tie_embeddings=flag(config, "tie_word_embeddings", tie_default),
        qk_norm=qk_norm,
        qkv_bias=bias,
        attention_output_bias=output_bias,
        mlp_bias=flag(config, "mlp_bias", False),
        sub_norms=flag(config, "sub_norms", False),
        shared_mlp=flag(config, "shared_mlp", False),
        max_position_embeddings=integer(
            config, "max_position_embeddings", _DEFAULT_MAX_POSITIONS.get(str(config["model_type"]), 2048)
        ),
        sharing=sharing_from_config(config.get("sharing")),
    )


def _llama(config: Config, name: str) -> Architecture:
    bias = flag(config, "attention_bias", False)
    return _decoder(config, name, tie_default=False, bias=bias, output_bias=bias)


def _mobilellm(config: Config, name: str) -> Architecture:
    """MobileLLM's files say tie_word_embeddings false but share the table: `share_embedding` decides."""
    shared = flag(config, "share_embedding", True)
    layer_sharing = {"strategy": "immediate", "repeat": 2} if flag(config, "layer_sharing", False) else None
    # vars of this family only; the Llama reader does the rest
    read: dict[str, Any] = {**config, "tie_word_embeddings": shared}
    read.setdefault("sharing", layer_sharing)
    return _decoder(read, name, tie_default=shared)


def _minicpm(config: Config, name: str) -> Architecture:
    return _decoder(config, name, tie_default=True)


def _mistral(config: Config, name: str) -> Architecture:
    a = _decoder(config, name, tie_default=False)
    return replace(a, **sliding(config, a.num_layers, 4096, lambda layer: True))


def _qwen2(config: Config, name: str) -> Architecture:
    return _sliding_qwen(config, _decoder(config, name, tie_default=False, bias=True))


def _qwen3(config: Config, name: str) -> Architecture:
    bias = flag(config, "attention_bias", False)
    a = _decoder(
        config, name, tie_default=False, bias=bias, output_bias=bias, qk_norm=True, head_dim_default=128
    )
    return _sliding_qwen(config, a)


def _sliding_qwen(config: Config, a: Architecture) -> Architecture:
    """Qwen2Config, Qwen3Config: windows only with use_sliding_window, from layer max_window_layers on."""
    if not flag(config, "use_sliding_window", False):
        return a
    first = integer(config, "max_window_layers", 28)
    return replace(a, **sliding(config, a.num_layers, 4096, lambda layer: layer >= first))


def _loaded(kind: str) -> Reader:
    """Reader that loads its file when it is first used: most runs read one family or none."""

    def read(config: Config, name: str) -> Architecture:
        readers: Mapping[str, Reader] = import_module(f"sizer.families.{kind}").READERS
        return readers[config["model_type"]](config, name)

    return read


_EXPERTS = ("granitemoe", "granitemoeshared", "mixtral", "olmoe", "qwen2_moe", "qwen3_moe")
_GATED = ("bitnet", "gemma", "gemma2", "gemma3_text", "granite", "olmo", "olmo2", "phi3", "stablelm")
_PLAIN = ("bloom", "distilbert", "falcon", "gpt2", "gpt_neo", "gpt_neox", "opt", "phi")

FAMILIES: Mapping[str, Reader] = {
    "llama": _llama,
    "minicpm": _minicpm,
    "mistral": _mistral,
    "mobilellm": _mobilellm,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    **dict.fromkeys(_EXPERTS, _loaded("experts")),
    **dict.fromkeys(_GATED, _loaded("gated")),
    **dict.fromkeys(_PLAIN, _loaded("plain")),
    "lfm2": _loaded("layered"),
    "openelm": _loaded("scaled"),
}
