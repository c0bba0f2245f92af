"""Random configs of families with layers of other kinds: sizes that fit together, keys left out."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.other_layers import BASES

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
