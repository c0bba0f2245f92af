"""Decoders of 2018 to 2023 with a plain feed-forward block: GPT, CTRL, GPT-J, CodeGen, XGLM, BioGPT, MPT ...

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`). All have as many KV
heads as heads but StarCoder's first version, and biased layer norms but MPT.
"""

from __future__ import annotations

from typing import Any

from sizer.architecture import Architecture, BlockNorms, NormKind, PositionKind
from sizer.families.config_keys import (
    Config,
    Reader,
    activation,
    even_head_dim,
    flag,
    integer,
    renamed_integer,
    understood,
)


def _sizes(config: Config, names: dict[str, str], defaults: tuple[int, int, int, int]) -> dict[str, Any]:
    """Read vocabulary, width, layers and heads under a family's own names or the common ones."""
    vocab, hidden_default, layers, heads_default = defaults
    hidden = renamed_integer(config, names["hidden_size"], "hidden_size", hidden_default)
    heads = renamed_integer(config, names["num_attention_heads"], "num_attention_heads", heads_default)
    return {
        "vocab_size": integer(config, "vocab_size", vocab),
        "hidden_size": hidden,
        "num_layers": renamed_integer(config, names["num_hidden_layers"], "num_hidden_layers", layers),
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": even_head_dim(hidden, heads),
        "norm": NormKind.LAYERNORM,
    }


_GPT = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
_COMMON = {key: key for key in _GPT}
_BIASED: dict[str, Any] = {"qkv_bias": True, "attention_output_bias": True, "mlp_bias": True}


def _positions(config: Config, default: int) -> int:
    return renamed_integer(config, "n_positions", "max_position_embeddings", default)


def _openai_gpt(config: Config, name: str) -> Architecture:
    """Read modeling_openai.py's shape: norms after each part and none at the end."""
    sizes = _sizes(config, _GPT, (40478, 768, 12, 12))
    return Architecture(
        name=name,
        **sizes,
        **_BIASED,
        intermediate_size=4 * sizes["hidden_size"],
        mlp=activation(config, "afn", "gelu", gated=False),
        position=PositionKind.LEARNED,
        max_position_embeddings=_positions(config, 512),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        fused_qkv=True,
        block_norms=BlockNorms.POST,
        final_norm=False,
    )


def _ctrl(config: Config, name: str) -> Architecture:
    """Read modeling_ctrl.py's shape: sinusoidal positions, and a bias at the tied head."""
    return Architecture(
        name=name,
        **_sizes(config, _GPT, (246534, 1280, 48, 16)),
        **_BIASED,
        intermediate_size=integer(config, "dff", 8192),
        mlp=activation({}, "activation", "relu", gated=False),
        position=PositionKind.SINUSOIDAL,
        max_position_embeddings=_positions(config, 256),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        head_bias=True,
    )


def _gpt_bigcode(config: Config, name: str) -> Architecture:
    """Read modeling_gpt_bigcode.py's shape: GPT-2's, with one KV head if multi_query."""
    sizes = _sizes(config, _GPT, (50257, 768, 12, 12))
    if flag(config, "multi_query", True):
        sizes["num_kv_heads"] = 1
    return Architecture(
        name=name,
        **sizes,
        **_BIASED,
        intermediate_size=integer(config, "n_inner", 4 * sizes["hidden_size"]),
        mlp=activation(config, "activation_function", "gelu_pytorch_tanh", gated=False),
        position=PositionKind.LEARNED,
        max_position_embeddings=_positions(config, 1024),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        fused_qkv=True,
    )


def _gptj(config: Config, name: str) -> Architecture:
    """Read modeling_gptj.py's shape: one norm for attention and MLP; CodeGen's has one matrix for three."""
    sizes = _sizes(config, _GPT, (50400, 4096, 28, 16))
    understood(config, "rotary_dim")
    return Architecture(
        name=name,
        **sizes,
        intermediate_size=integer(config, "n_inner", 4 * sizes["hidden_size"]),
        mlp=activation(config, "activation_function", "gelu_new", gated=False),
        max_position_embeddings=_positions(config, 2048),
        tie_embeddings=flag(config, "tie_word_embeddings", False),
        fused_qkv=config["model_type"] == "codegen",
        mlp_bias=True,
        head_bias=True,
        block_norms=BlockNorms.ONE,
    )


def _persimmon(config: Config, name: str) -> Architecture:
    """Read modeling_persimmon.py's shape: squared ReLU, biased norms on query and key."""
    return Architecture(
        name=name,
        **_sizes(config, _COMMON, (262144, 4096, 36, 64)),
        **_BIASED,
        intermediate_size=integer(config, "intermediate_size", 16384),
        mlp=activation(config, "hidden_act", "relu2", gated=False),
        max_position_embeddings=integer(config, "max_position_embeddings", 16384),
        tie_embeddings=flag(config, "tie_word_embeddings", False),
        fused_qkv=True,
        qk_norm=flag(config, "qk_layernorm", True),
    )


def _biogpt(config: Config, name: str) -> Architecture:
    """Read modeling_biogpt.py's shape: two position rows before the first."""
    return Architecture(
        name=name,
        **_sizes(config, _COMMON, (42384, 1024, 24, 16)),
        **_BIASED,
        intermediate_size=integer(config, "intermediate_size", 4096),
        mlp=activation(config, "hidden_act", "gelu", gated=False),
        position=PositionKind.LEARNED,
        position_offset=2,
        max_position_embeddings=integer(config, "max_position_embeddings", 1024),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
    )


def _xglm(config: Config, name: str) -> Architecture:
    """Read modeling_xglm.py's shape: sinusoidal positions, which are computed."""
    names = {
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "attention_heads",
    }
    return Architecture(
        name=name,
        **_sizes(config, names, (256008, 1024, 24, 16)),
        **_BIASED,
        intermediate_size=integer(config, "ffn_dim", 4096),
        mlp=activation(config, "activation_function", "gelu", gated=False),
        position=PositionKind.SINUSOIDAL,
        max_position_embeddings=integer(config, "max_position_embeddings", 2048),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
    )


def _mpt(config: Config, name: str) -> Architecture:
    """Read modeling_mpt.py's shape: no biases at all, not in the norms; FFN of four widths."""
    names = {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
    sizes = _sizes(config, names, (50368, 2048, 24, 16)) | {"norm": NormKind.LAYERNORM_WITHOUT_BIAS}
    understood(config, "attn_config", "expansion_ratio", "no_bias", "learned_pos_emb", "norm_type")
    return Architecture(
        name=name,
        **sizes,
        intermediate_size=4 * sizes["hidden_size"],
        mlp=activation({}, "activation", "gelu", gated=False),
        position=PositionKind.ALIBI,
        max_position_embeddings=integer(config, "max_seq_len", 2048),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        fused_qkv=True,
    )


READERS: dict[str, Reader] = {
    "biogpt": _biogpt,
    "codegen": _gptj,
    "ctrl": _ctrl,
    "gpt_bigcode": _gpt_bigcode,
    "gptj": _gptj,
    "mpt": _mpt,
    "openai-gpt": _openai_gpt,
    "persimmon": _persimmon,
    "xglm": _xglm,
}
