"""Families with a plain feed-forward block (two matrices): GPT-2, GPT-Neo, GPT-NeoX, OPT, BLOOM, Falcon, Phi.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`). All have layer norms
with biases, and heads of equal width unless a key overrides it.
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
    head_dim,
    integer,
    renamed_integer,
    sharing_from_config,
    understood,
)


def _equal_heads(config: Config, hidden: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": even_head_dim(hidden, heads),
        "norm": NormKind.LAYERNORM,
        "sharing": sharing_from_config(config.get("sharing")),
    }


def _gpt2(config: Config, name: str) -> Architecture:
    """Read modeling_gpt2.py's shape: c_attn is query, key and value; n_inner null means four times n_embd."""
    hidden = renamed_integer(config, "n_embd", "hidden_size", 768)
    return Architecture(
        name=name,
        **_equal_heads(config, hidden, renamed_integer(config, "n_head", "num_attention_heads", 12)),
        vocab_size=integer(config, "vocab_size", 50257),
        num_layers=renamed_integer(config, "n_layer", "num_hidden_layers", 12),
        intermediate_size=integer(config, "n_inner", 4 * hidden),
        mlp=activation(config, "activation_function", "gelu_new", gated=False),
        position=PositionKind.LEARNED,
        max_position_embeddings=renamed_integer(config, "n_positions", "max_position_embeddings", 1024),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        qkv_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        fused_qkv=True,
    )


def _gpt_neo(config: Config, name: str) -> Architecture:
    """Read modeling_gpt_neo.py's shape: no biases on query, key, value; local attention adds no tensors."""
    hidden = integer(config, "hidden_size", 2048)
    return Architecture(
        name=name,
        **_equal_heads(config, hidden, renamed_integer(config, "num_heads", "num_attention_heads", 16)),
        vocab_size=integer(config, "vocab_size", 50257),
        num_layers=renamed_integer(config, "num_layers", "num_hidden_layers", 24),
        intermediate_size=integer(config, "intermediate_size", 4 * hidden),
        mlp=activation(config, "activation_function", "gelu_new", gated=False),
        position=PositionKind.LEARNED,
        max_position_embeddings=integer(config, "max_position_embeddings", 2048),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        attention_output_bias=True,
        mlp_bias=True,
    )


def _gpt_neox(config: Config, name: str) -> Architecture:
    """Read modeling_gpt_neox.py's shape: two norms, whether attention and MLP are parallel or not."""
    bias = flag(config, "attention_bias", True)
    hidden = integer(config, "hidden_size", 6144)
    understood(config, "use_parallel_residual")
    return Architecture(
        name=name,
        **_equal_heads(config, hidden, integer(config, "num_attention_heads", 64)),
        vocab_size=integer(config, "vocab_size", 50432),
        num_layers=integer(config, "num_hidden_layers", 44),
        intermediate_size=integer(config, "intermediate_size", 24576),
        mlp=activation(config, "hidden_act", "gelu", gated=False),
        max_position_embeddings=integer(config, "max_position_embeddings", 2048),
        tie_embeddings=flag(config, "tie_word_embeddings", False),
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=True,
        fused_qkv=True,
    )


def _opt(config: Config, name: str) -> Architecture:
    """Read modeling_opt.py's shape: two extra position rows; with norms after the block no last norm."""
    hidden = integer(config, "hidden_size", 768)
    embedding = integer(config, "word_embed_proj_dim", hidden)
    bias = flag(config, "enable_bias", True)
    before = flag(config, "do_layer_norm_before", True)
    shape = _equal_heads(config, hidden, integer(config, "num_attention_heads", 12))
    if not flag(config, "layer_norm_elementwise_affine", True):
        shape["norm"] = NormKind.NONE
    return Architecture(
        name=name,
        **shape,
        vocab_size=integer(config, "vocab_size", 50272),
        num_layers=integer(config, "num_hidden_layers", 12),
        intermediate_size=integer(config, "ffn_dim", 3072),
        mlp=activation(config, "activation_function", "relu", gated=False),
        position=PositionKind.LEARNED,
        position_offset=2,
        max_position_embeddings=integer(config, "max_position_embeddings", 2048),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=bias,
        block_norms=BlockNorms.PRE if before else BlockNorms.POST,
        final_norm=before and not flag(config, "_remove_final_layer_norm", False),
        embedding_size=None if embedding == hidden else embedding,
    )


def _bloom(config: Config, name: str) -> Architecture:
    """Read modeling_bloom.py's shape: a norm on the embedding, no position table, FFN of four widths."""
    hidden = renamed_integer(config, "n_embed", "hidden_size", 64)
    return Architecture(
        name=name,
        **_equal_heads(config, hidden, renamed_integer(config, "n_head", "num_attention_heads", 8)),
        vocab_size=integer(config, "vocab_size", 250880),
        num_layers=renamed_integer(config, "n_layer", "num_hidden_layers", 2),
        intermediate_size=4 * hidden,
        mlp=activation({}, "activation", "gelu", gated=False),
        position=PositionKind.ALIBI,
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        qkv_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        embedding_norm=True,
        fused_qkv=True,
    )


def _falcon(config: Config, name: str) -> Architecture:
    """Read modeling_falcon.py's shape: one KV head (7B), or num_kv_heads and two norms (40B)."""
    hidden = renamed_integer(config, "n_embed", "hidden_size", 4544)
    heads = integer(config, "num_attention_heads", 71)
    new = flag(config, "new_decoder_architecture", False)
    kv_heads = 1 if flag(config, "multi_query", True) else heads
    norms = integer(config, "num_ln_in_parallel_attn", 2 if new else 1)
    one_norm = flag(config, "parallel_attn", True) and norms != 2
    bias = flag(config, "bias", False)
    return Architecture(
        name=name,
        **{
            **_equal_heads(config, hidden, heads),
            "num_kv_heads": integer(config, "num_kv_heads", heads) if new else kv_heads,
        },
        vocab_size=integer(config, "vocab_size", 65024),
        num_layers=integer(config, "num_hidden_layers", 32),
        intermediate_size=integer(config, "ffn_hidden_size", 4 * hidden),
        mlp=activation(config, "activation", "gelu", gated=False),
        position=PositionKind.ALIBI if flag(config, "alibi", False) else PositionKind.ROPE,
        max_position_embeddings=integer(config, "max_position_embeddings", 2048),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=bias,
        block_norms=BlockNorms.ONE if one_norm else BlockNorms.PRE,
        fused_qkv=True,
    )


def _phi(config: Config, name: str) -> Architecture:
    """Read modeling_phi.py's shape: parallel attention and MLP, one norm; biased matrices and head."""
    hidden = integer(config, "hidden_size", 2048)
    heads = integer(config, "num_attention_heads", 32)
    return Architecture(
        name=name,
        vocab_size=integer(config, "vocab_size", 51200),
        num_layers=integer(config, "num_hidden_layers", 24),
        hidden_size=hidden,
        intermediate_size=integer(config, "intermediate_size", 8192),
        num_heads=heads,
        num_kv_heads=integer(config, "num_key_value_heads", heads),
        head_dim=head_dim(config, hidden, heads),
        mlp=activation(config, "hidden_act", "gelu_new", gated=False),
        norm=NormKind.LAYERNORM,
        max_position_embeddings=integer(config, "max_position_embeddings", 2048),
        tie_embeddings=flag(config, "tie_word_embeddings", False),
        qk_norm=flag(config, "qk_layernorm", False),
        qkv_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        head_bias=True,
        block_norms=BlockNorms.ONE,
        sharing=sharing_from_config(config.get("sharing")),
    )


def _distilbert(config: Config, name: str) -> Architecture:
    """Read modeling_distilbert.py's encoder: a norm on the embedding, norms after, no head."""
    hidden = renamed_integer(config, "dim", "hidden_size", 768)
    return Architecture(
        name=name,
        **_equal_heads(config, hidden, renamed_integer(config, "n_heads", "num_attention_heads", 12)),
        vocab_size=integer(config, "vocab_size", 30522),
        num_layers=renamed_integer(config, "n_layers", "num_hidden_layers", 6),
        intermediate_size=integer(config, "hidden_dim", 3072),
        mlp=activation(config, "activation", "gelu", gated=False),
        position=PositionKind.LEARNED,
        max_position_embeddings=integer(config, "max_position_embeddings", 512),
        tie_embeddings=True,
        qkv_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        block_norms=BlockNorms.POST,
        final_norm=False,
        embedding_norm=True,
    )


READERS: dict[str, Reader] = {
    "gpt2": _gpt2,
    "gpt-sw3": _gpt2,
    "gpt_neo": _gpt_neo,
    "gpt_neox": _gpt_neox,
    "opt": _opt,
    "bloom": _bloom,
    "falcon": _falcon,
    "phi": _phi,
    "distilbert": _distilbert,
}
