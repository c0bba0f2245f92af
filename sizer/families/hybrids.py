"""Families that mix Mamba layers with attention: Bamba, Granite 4.0 H, Falcon-H1, Jamba, Nemotron-H.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`).
"""

from __future__ import annotations

from typing import Any

from sizer.architecture import MAX_LAYERS, Architecture, PositionKind
from sizer.errors import InvalidArchitecture, shown
from sizer.families.config_keys import (
    Config,
    Reader,
    activation,
    flag,
    integer,
    renamed_integer,
    size,
    understood,
)
from sizer.families.sizes import (
    Defaults,
    common,
    indices,
    kv_heads_or_null,
    layer_kinds,
    scaled_width,
    time_step_rank,
    where,
)
from sizer.layers.mamba import Mamba, Mamba2

# Names of layers that transformers 5 writes, and those of older files (remap_legacy_layer_types).
_KINDS = {
    "linear_attention": "mamba",
    "mamba": "mamba",
    "full_attention": "attention",
    "attention": "attention",
}


def _mamba2(config: Config, layers: tuple[int, ...], inner_size: int, **more: Any) -> Mamba2:
    """Read Mamba-2 layers from keys that start with mamba_."""
    heads = size(config, "mamba_n_heads", 128)
    given = config.get("mamba_d_head", "auto")
    head_dim = inner_size // heads if given == "auto" else integer(config, "mamba_d_head")
    if head_dim * heads != inner_size:
        raise InvalidArchitecture(
            f"mamba_d_head: expected mamba_n_heads x mamba_d_head to be {inner_size}, "
            f"got {heads} x {shown(head_dim)}"
        )
    bias = flag(config, "mamba_proj_bias", False)
    return Mamba2(
        **{
            "layers": layers,
            "num_heads": heads,
            "head_dim": head_dim,
            "state_size": integer(config, "mamba_d_state", 256),
            "num_groups": size(config, "mamba_n_groups", 1),
            "conv_kernel": integer(config, "mamba_d_conv", 4),
            # null is no bias here
            "conv_bias": flag(config, "mamba_conv_bias", "mamba_conv_bias" not in config),
            "input_bias": bias,
            "output_bias": bias,
            **more,
        }
    )


def _biases(config: Config) -> dict[str, Any]:
    bias = flag(config, "attention_bias", False)
    return {"qkv_bias": bias, "attention_output_bias": bias}


def _bamba(config: Config, name: str) -> Architecture:
    """Read modeling_bamba.py's shape: attention in some layers, Mamba-2 in the others."""
    sizes = common(config, Defaults(128000, 4096, 14336, 32, 32, 8, 262144))
    attention = frozenset(indices(config, "attn_layer_indices"))
    layers = tuple(layer for layer in range(sizes["num_layers"]) if layer not in attention)
    return Architecture(
        name=name,
        **sizes,
        **_biases(config),
        mlp_bias=flag(config, "mlp_bias", False),
        mamba2=_mamba2(config, layers, scaled_width(config, "mamba_expand", 2, sizes["hidden_size"]))
        if layers
        else None,
    )


def _granitemoehybrid(config: Config, name: str) -> Architecture:
    """Read modeling_granitemoehybrid.py's shape: a shared expert always, routed ones where there are any."""
    sizes = common(config, Defaults(32000, 4096, 11008, 32, 32, None, 2048))
    key = "layers_block_type" if config.get("layer_types") is None else "layer_types"
    kinds = layer_kinds(config, key, sizes["num_layers"], _KINDS) or ("mamba",) * sizes["num_layers"]
    layers = where(kinds, "mamba")
    shared = integer(config, "shared_intermediate_size", 1024)
    experts = renamed_integer(config, "num_local_experts", "num_experts", 8)
    if experts:
        sizes |= {
            "num_experts": experts,
            "num_experts_per_tok": integer(config, "num_experts_per_tok", 2),
            "shared_expert_intermediate_size": shared,
        }
    else:
        sizes["intermediate_size"] = shared
    rotates = config.get("position_embedding_type") == "rope"
    return Architecture(
        name=name,
        **sizes,
        **_biases(config),
        position=PositionKind.ROPE if rotates else PositionKind.NONE,
        mamba2=_mamba2(config, layers, scaled_width(config, "mamba_expand", 2, sizes["hidden_size"]))
        if layers
        else None,
    )


def _falcon_h1(config: Config, name: str) -> Architecture:
    """Read modeling_falcon_h1.py's shape: attention and Mamba-2 in parallel in every layer."""
    sizes = common(config, Defaults(128000, 4096, 14336, 32, 32, 8, 8192))
    understood(config, "mamba_expand", "mamba_use_mlp", "mamba_norm_before_gate", "mlp_expansion_factor")
    inner = size(config, "mamba_d_ssm", 1024)
    if config.get("mamba_d_ssm", inner) is None:
        inner = scaled_width(config, "mamba_expand", 2, sizes["hidden_size"])
    return Architecture(
        name=name,
        **sizes,
        **_biases(config),
        mlp_bias=flag(config, "mlp_bias", False),
        mamba2=_mamba2(
            config,
            tuple(range(sizes["num_layers"])),
            inner,
            output_bias=flag(config, "projectors_bias", False),
            gated_norm=flag(config, "mamba_rms_norm", False),
            beside_attention=True,
        ),
    )


def _every(config: Config, key: str, period: int, offset: int, num_layers: int) -> tuple[int, ...]:
    """Return the layers at an offset in each period (JambaConfig)."""
    step = size(config, f"{key}_period", period)
    first = integer(config, f"{key}_offset", offset)
    return tuple(layer for layer in range(num_layers) if layer % step == first)


def _jamba(config: Config, name: str) -> Architecture:
    """Read modeling_jamba.py's shape: Mamba with norms on time step, B and C; experts in some layers."""
    sizes = common(config, Defaults(65536, 4096, 14336, 32, 32, 8, 262144))
    hidden, num_layers = sizes["hidden_size"], sizes["num_layers"]
    understood(config, "use_mamba_kernels", "mamba_inner_layernorms", "num_logits_to_keep")
    attention = frozenset(_every(config, "attn_layer", 8, 4, num_layers))
    with_experts = frozenset(_every(config, "expert_layer", 2, 1, num_layers))
    experts = renamed_integer(config, "num_experts", "num_local_experts", 16)
    if experts > 1 and with_experts:
        sizes |= {
            "num_experts": experts,
            "num_experts_per_tok": integer(config, "num_experts_per_tok", 2),
            "dense_layers": tuple(layer for layer in range(num_layers) if layer not in with_experts),
        }
    layers = tuple(layer for layer in range(num_layers) if layer not in attention)
    mamba = Mamba(
        layers=layers,
        inner_size=scaled_width(config, "mamba_expand", 2, hidden),
        state_size=integer(config, "mamba_d_state", 16),
        time_step_rank=time_step_rank(config, "mamba_dt_rank", hidden),
        conv_kernel=integer(config, "mamba_d_conv", 4),
        conv_bias=flag(config, "mamba_conv_bias", True),
        bias=flag(config, "mamba_proj_bias", False),
        inner_norms=True,
    )
    return Architecture(name=name, **sizes, position=PositionKind.NONE, mamba=mamba if layers else None)


_PATTERN = {"M": "mamba", "E": "experts", "*": "attention", "-": "mlp"}
_NEMOTRON_KINDS = {**_KINDS, "moe": "experts", "mlp": "mlp"}


def _nemotron_kinds(config: Config) -> tuple[str, ...]:
    """Return the kind of every layer: listed, or by letter (NemotronHConfig)."""
    for key in ("layers_block_type", "layer_types"):
        listed = config.get(key)
        if listed is not None:
            layers = len(listed) if isinstance(listed, list) else 0
            return layer_kinds(config, key, layers, _NEMOTRON_KINDS) or ()
    pattern = config.get("hybrid_override_pattern", "ME*-")
    if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_LAYERS or set(pattern) - set(_PATTERN):
        raise InvalidArchitecture(
            f"hybrid_override_pattern: expected 1 to {MAX_LAYERS} of the letters M, E, * and -, "
            f"got {shown(pattern)}"
        )
    return tuple(_PATTERN[letter] for letter in pattern)


def _nemotron_h(config: Config, name: str) -> Architecture:
    """Read modeling_nemotron_h.py's shape: one mixer, feed-forward block or mixture of experts a layer."""
    kinds = _nemotron_kinds(config)
    understood(config, "num_hidden_layers", "expand", "n_shared_experts", "moe_shared_expert_overlap")
    understood(config, "attention_head_dim", "attention_bias", "mamba_proj_bias", "num_logits_to_keep")
    understood(config, "use_mamba_kernels", "mtp_layers_block_type", "mtp_hybrid_override_pattern")
    heads = size(config, "num_attention_heads", 32)
    bias = flag(config, "use_bias", False)
    fields: dict[str, Any] = {}
    if layers := where(kinds, "mamba"):
        fields["mamba2"] = Mamba2(
            layers=layers,
            num_heads=size(config, "mamba_num_heads", 128),
            head_dim=size(config, "mamba_head_dim", 64),
            state_size=integer(config, "ssm_state_size", 128),
            num_groups=renamed_integer(config, "mamba_n_groups", "n_groups", 8),
            conv_kernel=renamed_integer(config, "mamba_d_conv", "conv_kernel", 4),
            conv_bias=flag(config, "mamba_conv_bias", flag(config, "use_conv_bias", True)),
            input_bias=bias,
            output_bias=bias,
        )
    intermediate = integer(config, "intermediate_size", 21504)
    understood(config, "n_routed_experts", "num_local_experts", "num_experts_per_tok", "n_shared_experts")
    if "experts" in kinds:
        shared = integer(config, "moe_shared_expert_intermediate_size", 7688)
        latent = config.get("moe_latent_size")
        fields |= {
            "num_experts": renamed_integer(config, "n_routed_experts", "num_local_experts", 8),
            "num_experts_per_tok": integer(config, "num_experts_per_tok", 2),
            "moe_intermediate_size": integer(config, "moe_intermediate_size", 7688),
            "shared_expert_intermediate_size": shared or intermediate,
            "moe_latent_size": None if latent is None else integer(config, "moe_latent_size"),
            "dense_layers": where(kinds, "mlp"),
            "routing_bias": True,
            "routing_bias_is_buffer": True,
        }
    return Architecture(
        name=name,
        **fields,
        vocab_size=integer(config, "vocab_size", 131072),
        num_layers=len(kinds),
        hidden_size=size(config, "hidden_size", 4096),
        intermediate_size=intermediate,
        num_heads=heads,
        num_kv_heads=kv_heads_or_null(config, heads, 8),
        head_dim=integer(config, "head_dim", 128),
        mlp=activation(config, "mlp_hidden_act", "relu2", gated=False),
        mlp_bias=flag(config, "mlp_bias", False),
        position=PositionKind.NONE,
        tie_embeddings=False,  # whatever tie_word_embeddings is: NemotronHForCausalLM has no tied weights
        max_position_embeddings=integer(config, "max_position_embeddings", 4096),
        layers_without_mixer=tuple(sorted(where(kinds, "mlp") + where(kinds, "experts"))),
        layers_without_mlp=tuple(sorted(where(kinds, "mamba") + where(kinds, "attention"))),
    )


READERS: dict[str, Reader] = {
    "bamba": _bamba,
    "granitemoehybrid": _granitemoehybrid,
    "falcon_h1": _falcon_h1,
    "jamba": _jamba,
    "nemotron_h": _nemotron_h,
}
