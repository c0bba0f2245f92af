"""Zamba2: Mamba-2 layers, before some of them a transformer block that several layers share.

Defaults are those of transformers 5 (the dataclass fields of configuration_zamba2.py).
"""

from __future__ import annotations

from sizer.architecture import MAX_LAYERS, Architecture, PositionKind
from sizer.errors import InvalidArchitecture
from sizer.families.config_keys import Config, Reader, activation, flag, integer, size, understood
from sizer.families.sizes import kv_heads_or_null, layer_kinds, scaled_width, where
from sizer.layers.mamba import Mamba2
from sizer.layers.shared_transformer import SharedTransformer

_KINDS = {"mamba": "mamba", "linear_attention": "mamba", "hybrid": "hybrid"}
# Layers of Zamba2-2.7B (Zamba2Config.__post_init__).
_LAYERS = 54
_HYBRID = (6, 12, 18, 24, 30, 36, 42, 47, 51)


def _zamba2(config: Config, name: str) -> Architecture:
    """Read modeling_zamba2.py's shape: attention on twice the hidden size, heads as wide as that asks."""
    understood(config, "attention_hidden_size", "attention_head_dim", "hybrid_layer_ids", "kv_channels")
    understood(config, "mamba_headdim", "num_query_groups", "use_shared_mlp_adapter", "ffn_hidden_size")
    understood(config, "use_conv_bias", "use_mem_eff_path", "use_mamba_kernels", "num_logits_to_keep")
    understood(config, "use_long_context")
    hidden = size(config, "hidden_size", 2560)
    layers = size(config, "num_hidden_layers", _LAYERS, MAX_LAYERS)
    heads = size(config, "num_attention_heads", 32)
    kinds = layer_kinds(config, "layers_block_type", layers, _KINDS)
    if kinds is None and layers != _LAYERS:
        raise InvalidArchitecture(
            f"layers_block_type: missing; expected one of mamba, hybrid for each of {layers} layers"
        )
    if not flag(config, "tie_word_embeddings", True):
        raise InvalidArchitecture(
            "tie_word_embeddings: expected true, since the shared blocks are tied by the same key"
        )
    hybrid = _HYBRID if kinds is None else where(kinds, "hybrid")
    bias = flag(config, "add_bias_linear", False)
    mamba_heads = size(config, "n_mamba_heads", 8)
    blocks = size(config, "num_mem_blocks", 1)
    shared = SharedTransformer(
        layers=hybrid,
        num_blocks=blocks,
        adapter_rank=integer(config, "adapter_rank", 128),
        attention_adapters=flag(config, "use_shared_attention_adapter", False),
        bias=bias,
    )
    return Architecture(
        name=name,
        vocab_size=integer(config, "vocab_size", 32000),
        num_layers=layers,
        hidden_size=hidden,
        intermediate_size=integer(config, "intermediate_size", 4 * hidden),
        num_heads=heads,
        num_kv_heads=kv_heads_or_null(config, heads, None),
        head_dim=2 * hidden // heads,
        mlp=activation(config, "hidden_act", "gelu", gated=True),
        position=PositionKind.ROPE if flag(config, "use_mem_rope", False) else PositionKind.NONE,
        tie_embeddings=True,
        max_position_embeddings=integer(config, "max_position_embeddings", 4096),
        layers_without_mlp=tuple(range(layers)),
        mamba2=Mamba2(
            layers=tuple(range(layers)),
            num_heads=mamba_heads,
            head_dim=scaled_width(config, "mamba_expand", 2, hidden) // mamba_heads,
            state_size=integer(config, "mamba_d_state", 64),
            num_groups=size(config, "mamba_ngroups", 1),
            conv_kernel=integer(config, "mamba_d_conv", 4),
            conv_bias=True,  # whatever use_conv_bias is (Zamba2MambaMixer)
            input_bias=bias,
            output_bias=bias,
        ),
        shared_transformer=shared if hybrid else None,
    )


READERS: dict[str, Reader] = {"zamba2": _zamba2}
