"""Small configs of families with layers of other kinds, and random ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_TABLE = {"vocab_size": 96, "hidden_size": 64}
_SIZES = {**_TABLE, "num_hidden_layers": 3}
_ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2}
_DENSE = {**_SIZES, **_ATTENTION, "intermediate_size": 100}
_MAMBA = {"mamba_n_heads": 8, "mamba_n_groups": 2, "mamba_d_state": 12, "mamba_d_conv": 3, "mamba_expand": 3}

BASES: dict[str, dict[str, Any]] = {
    "mamba": {
        **_SIZES,
        "state_size": 12,
        "expand": 3,
        "conv_kernel": 5,
        "use_bias": True,
        "use_conv_bias": False,
        "time_step_rank": 7,
        "tie_word_embeddings": False,
    },
    "falcon_mamba": {
        **_SIZES,
        "state_size": 12,
        "expand": 3,
        "conv_kernel": 5,
        "use_bias": True,
        "use_conv_bias": False,
        "time_step_rank": 7,
        "tie_word_embeddings": False,
    },
    "mamba2": {
        **_SIZES,
        "num_heads": 8,
        "head_dim": 16,
        "expand": 2,
        "n_groups": 2,
        "state_size": 12,
        "conv_kernel": 5,
        "use_bias": True,
        "use_conv_bias": False,
        "tie_word_embeddings": True,
    },
    "bamba": {
        **_DENSE,
        **_MAMBA,
        "attn_layer_indices": [1],
        "mamba_conv_bias": False,
        "mamba_proj_bias": True,
        "mamba_d_head": 24,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
    },
    "granitemoehybrid": {
        **_DENSE,
        **_MAMBA,
        "layer_types": ["mamba", "attention", "mamba"],
        "num_local_experts": 3,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 50,
        "mamba_conv_bias": False,
        "mamba_proj_bias": True,
        "mamba_d_head": 24,
        "attention_bias": True,
        "tie_word_embeddings": True,
        "position_embedding_type": "rope",
    },
    "falcon_h1": {
        **_DENSE,
        **_MAMBA,
        "mamba_d_ssm": 96,
        "mamba_d_head": 12,
        "mamba_rms_norm": True,
        "mamba_conv_bias": False,
        "mamba_proj_bias": True,
        "projectors_bias": True,
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 24,
        "tie_word_embeddings": True,
    },
    "jamba": {
        **_DENSE,
        "attn_layer_period": 2,
        "attn_layer_offset": 0,
        "expert_layer_period": 3,
        "expert_layer_offset": 2,
        "num_experts": 3,
        "num_experts_per_tok": 1,
        "mamba_d_state": 12,
        "mamba_d_conv": 3,
        "mamba_expand": 3,
        "mamba_dt_rank": 7,
        "mamba_conv_bias": False,
        "mamba_proj_bias": True,
        "tie_word_embeddings": True,
    },
    "nemotron_h": {
        **_TABLE,
        **_ATTENTION,
        "intermediate_size": 100,
        "hybrid_override_pattern": "M-*EM",
        "head_dim": 24,
        "ssm_state_size": 12,
        "mamba_num_heads": 8,
        "mamba_head_dim": 20,
        "n_groups": 2,
        "conv_kernel": 3,
        "use_conv_bias": False,
        "use_bias": True,
        "mlp_bias": True,
        "attention_bias": True,
        "n_routed_experts": 3,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 30,
        "moe_shared_expert_intermediate_size": 40,
        "moe_latent_size": 20,
        "tie_word_embeddings": True,
    },
}
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_key_head_dim": 12,
    "linear_value_head_dim": 20,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_conv_kernel_dim": 3,
    "head_dim": 24,
    "attention_bias": True,
    "tie_word_embeddings": True,
}
_LATENT = {
    "kv_lora_rank": 20,
    "q_lora_rank": 36,
    "qk_nope_head_dim": 14,
    "qk_rope_head_dim": 6,
    "v_head_dim": 18,
    "attention_bias": True,
    "tie_word_embeddings": True,
}
_ROUTED = {
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 30,
    "n_shared_experts": 3,
    "first_k_dense_replace": 2,
    "n_group": 1,
    "topk_group": 1,
    "tie_word_embeddings": True,
}
_EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2}
_SHARED = {**_EXPERTS, "moe_intermediate_size": 30, "shared_expert_intermediate_size": 40}
BASES |= {
    "qwen3_next": {**_DENSE, **_LINEAR, **_SHARED, "decoder_sparse_step": 2, "mlp_only_layers": [0]},
    "qwen3_5_text": {**_DENSE, **_LINEAR},
    "qwen3_5_moe_text": {**_SIZES, **_ATTENTION, **_LINEAR, **_SHARED},
    "deepseek_v2": {**_DENSE, **_LATENT, **_ROUTED, "mlp_bias": True},
    "deepseek_v3": {**_DENSE, **_LATENT, **_ROUTED},
    "minicpm3": {**_DENSE, **_LATENT, "mlp_bias": True},
    "lfm2_moe": {
        **_DENSE,
        **_EXPERTS,
        "num_dense_layers": 1,
        "moe_intermediate_size": 30,
        "layer_types": ["conv", "full_attention", "conv"],
        "conv_bias": True,
        "conv_L_cache": 4,
        "use_expert_bias": False,
        "tie_word_embeddings": False,
    },
    "ernie4_5_moe": {
        **_DENSE,
        "moe_num_experts": 3,
        "moe_k": 2,
        "moe_intermediate_size": 30,
        "moe_num_shared_experts": 3,
        "moe_layer_start_index": 0,
        "moe_layer_end_index": 2,
        "moe_layer_interval": 2,
        "use_bias": True,
        "tie_word_embeddings": False,
    },
    "glm4_moe": {**_DENSE, **_ROUTED, "head_dim": 24, "use_qk_norm": True, "attention_bias": True},
    "dots1": {**_DENSE, **_ROUTED, "head_dim": 24, "attention_bias": True},
    "hunyuan_v1_moe": {
        **_DENSE,
        "num_experts": 3,
        "moe_topk": 2,
        "head_dim": 24,
        "attention_bias": True,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
    "llama4_text": {
        **_DENSE,
        "intermediate_size_mlp": 120,
        "num_local_experts": 3,
        "num_experts_per_tok": 2,
        "interleave_moe_layer_step": 2,
        "head_dim": 24,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
    "gpt_oss": {
        **_DENSE,
        "num_local_experts": 5,
        "num_experts_per_tok": 2,
        "head_dim": 24,
        "attention_bias": False,
        "sliding_window": 7,
        "tie_word_embeddings": True,
    },
}
_GEMMA = {
    **_DENSE,
    "vocab_size_per_layer_input": 90,
    "hidden_size_per_layer_input": 20,
    "head_dim": 24,
    "sliding_window": 7,
    "num_kv_shared_layers": 1,
    "attention_bias": True,
    "tie_word_embeddings": False,
}
BASES |= {
    "gemma3n_text": {
        **_GEMMA,
        "laurel_rank": 5,
        "altup_num_inputs": 3,
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        "activation_sparsity_pattern": [0.0, 0.0, 0.0],
    },
    "gemma4_text": {
        **_GEMMA,
        "global_head_dim": 32,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
        "use_double_wide_mlp": True,
        "enable_moe_block": True,
        "num_experts": 3,
        "top_k_experts": 2,
        "moe_intermediate_size": 30,
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
    },
    "zamba2": {
        **_DENSE,
        "num_hidden_layers": 6,
        "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid", "hybrid", "mamba"],
        "num_mem_blocks": 2,
        "use_shared_attention_adapter": True,
        "adapter_rank": 5,
        "mamba_d_state": 12,
        "mamba_d_conv": 3,
        "mamba_expand": 3,
        "mamba_ngroups": 2,
        "n_mamba_heads": 8,
        "use_conv_bias": False,
        "add_bias_linear": True,
        "use_mem_rope": True,
    },
}
for _family, _base in BASES.items():
    _base["model_type"] = _family

_FLAG = st.booleans()
_WIDTH = st.integers(4, 96)


@st.composite
def configs(draw: st.DrawFn, family: str) -> dict[str, Any]:
    """A config of that family with other sizes that fit together; keys that may be left out sometimes are."""
    base = dict(BASES[family])
    config = {key: _drawn(draw, key, value) for key, value in base.items()}
    layers = draw(st.integers(1, 4))
    kv_heads = draw(st.integers(1, 3))
    heads = kv_heads * draw(st.integers(1, 3))
    config |= {"vocab_size": draw(st.integers(4, 200)), "hidden_size": heads * draw(st.sampled_from([8, 16]))}
    if "num_attention_heads" in base:
        config |= {"num_attention_heads": heads, "num_key_value_heads": kv_heads}
    if "num_hidden_layers" in base:
        config["num_hidden_layers"] = layers
    config |= draw(_special(family, config, layers))
    for key in base:
        if isinstance(base[key], bool) and draw(_FLAG):
            config.pop(key, None)
    return config


def _drawn(draw: st.DrawFn, key: str, value: Any) -> Any:
    """Another value of the kind that a key has."""
    if isinstance(value, bool):
        return draw(_FLAG)
    if "kernel" in key or "d_conv" in key:
        return draw(st.integers(2, 5))
    return draw(_WIDTH) if isinstance(value, int) else value


@st.composite
def _special(draw: st.DrawFn, family: str, config: dict[str, Any], layers: int) -> dict[str, Any]:
    """Keys that hang together."""
    groups = draw(st.integers(1, 2))
    mamba_heads = groups * draw(st.integers(1, 3))
    head_dim = draw(st.sampled_from([2, 6, 16]))
    experts = draw(st.integers(1, 6))
    used = draw(st.integers(1, experts))
    indices = draw(st.lists(st.integers(0, layers - 1), unique=True))
    if family in ("mamba", "falcon_mamba"):
        return {"expand": draw(st.sampled_from([1, 2, 3]))}
    if family == "mamba2":
        heads = config["hidden_size"] * 2 // 8
        return {"num_heads": heads, "head_dim": 8, "n_groups": draw(st.sampled_from([1, 2])), "expand": 2}
    if family == "nemotron_h":
        pattern = "".join(draw(st.lists(st.sampled_from("ME*-"), min_size=1, max_size=5)))
        return {
            "hybrid_override_pattern": pattern,
            "head_dim": head_dim,
            "n_groups": groups,
            "mamba_num_heads": mamba_heads,
            "n_routed_experts": experts,
            "num_experts_per_tok": used,
            "moe_latent_size": draw(st.one_of(st.none(), _WIDTH)),
        }
    if family == "jamba":
        periods = {"attn_layer_period": draw(st.integers(2, 4)), "attn_layer_offset": draw(st.integers(0, 1))}
        periods |= {"expert_layer_period": 2, "expert_layer_offset": draw(st.integers(0, 1))}
        return {**periods, "num_experts": experts, "num_experts_per_tok": used, "mamba_expand": 2}
    config_keys = BASES[family]
    if "layer_types" in config_keys and "sliding_window" in config_keys and family.startswith("gemma"):
        return draw(_gemmas(family, layers, head_dim))
    if family == "zamba2":
        return {
            "layers_block_type": draw(_kinds(["mamba", "hybrid"], layers)),
            "num_mem_blocks": draw(st.integers(1, 3)),
            "mamba_expand": 2,
            "n_mamba_heads": 4,
            "mamba_ngroups": groups,
        }
    if "linear_num_key_heads" in config_keys or family in _EXPERTS_KEYS or "kv_lora_rank" in config_keys:
        return draw(_of_experts(family, layers, experts, used))
    expand = draw(st.sampled_from([1, 2]))
    wide = mamba_heads * 4 if family == "falcon_h1" else expand * config["hidden_size"]
    own = {
        "mamba_expand": expand,
        "mamba_n_groups": draw(st.sampled_from([1, 2])),
        "mamba_n_heads": wide // 4,
        "mamba_d_head": draw(st.sampled_from(["auto", 4])),
    }
    if family == "bamba":
        return {**own, "attn_layer_indices": indices}
    if family == "falcon_h1":
        return {**own, "mamba_d_ssm": wide, "mamba_n_groups": 1, "head_dim": head_dim}
    kinds = st.lists(st.sampled_from(["mamba", "attention"]), min_size=layers, max_size=layers)
    return {
        **own,
        "layer_types": draw(kinds),
        "num_local_experts": draw(st.sampled_from([0, experts])),
        "num_experts_per_tok": used,
    }


# What the number of experts and of those used are called.
_EXPERTS_KEYS = {
    "qwen3_next": ("num_experts", "num_experts_per_tok"),
    "qwen3_5_moe_text": ("num_experts", "num_experts_per_tok"),
    "deepseek_v2": ("n_routed_experts", "num_experts_per_tok"),
    "deepseek_v3": ("n_routed_experts", "num_experts_per_tok"),
    "lfm2_moe": ("num_experts", "num_experts_per_tok"),
    "ernie4_5_moe": ("moe_num_experts", "moe_k"),
    "glm4_moe": ("n_routed_experts", "num_experts_per_tok"),
    "dots1": ("n_routed_experts", "num_experts_per_tok"),
    "hunyuan_v1_moe": ("num_experts", "moe_topk"),
    "llama4_text": ("num_local_experts", "num_experts_per_tok"),
    "gpt_oss": ("num_local_experts", "num_experts_per_tok"),
}


@st.composite
def _of_experts(draw: st.DrawFn, family: str, layers: int, experts: int, used: int) -> dict[str, Any]:
    """Keys of experts, delta nets, latent attention and kinds of layers that hang together."""
    keys: dict[str, Any] = {}
    base = BASES[family]
    if family in _EXPERTS_KEYS:
        keys = dict(zip(_EXPERTS_KEYS[family], (experts, used), strict=True))
    if "head_dim" in base:
        keys["head_dim"] = draw(st.sampled_from([2, 6, 16]))
    if "linear_num_key_heads" in base:
        heads = draw(st.integers(1, 3))
        keys |= {"linear_num_key_heads": heads, "linear_num_value_heads": heads * draw(st.integers(1, 3))}
        if draw(_FLAG):
            keys |= {"layer_types": None, "full_attention_interval": draw(st.integers(1, 4))}
        else:
            keys["layer_types"] = draw(_kinds(["linear_attention", "full_attention"], layers))
    if "kv_lora_rank" in base:
        keys["qk_rope_head_dim"] = 2 * draw(st.integers(1, 8))
        keys["q_lora_rank"] = draw(st.one_of(st.none(), _WIDTH))
    if "n_group" in base:
        keys |= {"n_group": 1, "topk_group": 1, "n_shared_experts": draw(st.integers(1, 3))}
    for key in ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"):
        if key in base:
            keys[key] = draw(st.integers(0, layers + 1))
    return keys | draw(_own_layers(family, layers))


@st.composite
def _own_layers(draw: st.DrawFn, family: str, layers: int) -> dict[str, Any]:
    """Keys by which a family chooses layers."""
    keys: dict[str, Any] = {}
    if family == "qwen3_next":
        keys |= {
            "decoder_sparse_step": draw(st.integers(1, 3)),
            "mlp_only_layers": [0] * draw(st.integers(0, 1)),
        }
    if family == "lfm2_moe":
        keys |= {"layer_types": draw(_kinds(["conv", "full_attention"], layers)), "conv_L_cache": 3}
    if family == "ernie4_5_moe":
        keys |= {
            "moe_layer_interval": draw(st.integers(1, 3)),
            "moe_layer_end_index": draw(st.integers(-1, layers)),
            "moe_num_shared_experts": draw(st.integers(0, 3)),
        }
    if family == "llama4_text":
        listed = st.lists(st.integers(0, layers - 1), unique=True)
        keys |= {
            "interleave_moe_layer_step": draw(st.integers(1, 3)),
            "moe_layers": draw(st.one_of(st.none(), listed)),
        }
    return keys


def _kinds(names: list[str], layers: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=layers, max_size=layers)


@st.composite
def _gemmas(draw: st.DrawFn, family: str, layers: int, head_dim: int) -> dict[str, Any]:
    """Keys of Gemma 3n and 4; the layers that share keys and values need one of each kind before them."""
    layers = max(layers, 2)
    first = draw(_kinds(["sliding_attention", "full_attention"], layers))
    kinds = [*first, "full_attention" if "full_attention" in first else "sliding_attention"]
    if family == "gemma4_text":
        kinds[-2:] = ["full_attention", "full_attention"]
    keys: dict[str, Any] = {
        "num_hidden_layers": len(kinds),
        "layer_types": kinds,
        "num_kv_shared_layers": draw(st.integers(0, 1)),
        "head_dim": head_dim,
        "sliding_window": draw(st.integers(2, 30)),
    }
    if family == "gemma3n_text":
        sizes = st.lists(_WIDTH, min_size=len(kinds), max_size=len(kinds))
        keys |= {
            "activation_sparsity_pattern": [0.0] * len(kinds),
            "intermediate_size": draw(st.one_of(_WIDTH, sizes)),
            "altup_num_inputs": draw(st.integers(1, 4)),
        }
        return keys
    return keys | {
        "hidden_size_per_layer_input": draw(st.sampled_from([0, 8])),
        "global_head_dim": draw(st.sampled_from([4, 8])),
        "num_global_key_value_heads": draw(st.sampled_from([None, 1])),
        "top_k_experts": 1,
    }
