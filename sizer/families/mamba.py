"""Families of Mamba layers alone: Mamba, Falcon-Mamba, Mamba-2.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`).
"""

from __future__ import annotations

from typing import Any

from sizer.architecture import MAX_LAYERS, Architecture, PositionKind
from sizer.families.config_keys import Config, Reader, flag, integer, size, understood
from sizer.families.sizes import scaled_width, time_step_rank
from sizer.layers.mamba import Mamba, Mamba2

# Contexts have no limit but the training's: 2,048 tokens of Mamba (arXiv 2312.00752, section 4.2), 8,192 of
# Falcon-Mamba (arXiv 2410.05355, section 3.1).
_POSITIONS = {"mamba": 2048, "falcon_mamba": 8192, "mamba2": 2048}


def _without_attention(config: Config, vocab: int, hidden: int, layers: int, *, tied: bool) -> dict[str, Any]:
    understood(config, "rms_norm", "fused_add_norm", "pad_vocab_size_multiple", "norm_before_gate", "expand")
    num_layers = size(config, "num_hidden_layers", layers, MAX_LAYERS)
    return {
        "vocab_size": integer(config, "vocab_size", vocab),
        "num_layers": num_layers,
        "hidden_size": hidden,
        "intermediate_size": 0,
        "num_heads": 0,
        "num_kv_heads": 0,
        "head_dim": 0,
        "position": PositionKind.NONE,
        "tie_embeddings": flag(config, "tie_word_embeddings", tied),
        "max_position_embeddings": _POSITIONS[str(config["model_type"])],
        "layers_without_mlp": tuple(range(num_layers)),
    }


def _mamba(config: Config, name: str) -> Architecture:
    """Read modeling_mamba.py's shape; modeling_falcon_mamba.py's further norms have no weights."""
    hidden = size(config, "hidden_size", 768)
    sizes = _without_attention(config, 50280, hidden, 32, tied=True)
    given = config.get("intermediate_size") is not None  # otherwise the hidden size times expand
    inner = size(config, "intermediate_size", 1) if given else scaled_width(config, "expand", 2, hidden)
    understood(config, "expand", "d_model", "d_inner", "n_layer", "num_layers")
    return Architecture(
        name=name,
        **sizes,
        mamba=Mamba(
            layers=tuple(range(sizes["num_layers"])),
            inner_size=inner,
            state_size=integer(config, "state_size", 16),
            time_step_rank=time_step_rank(config, "time_step_rank", hidden),
            conv_kernel=integer(config, "conv_kernel", 4),
            conv_bias=flag(config, "use_conv_bias", True),
            bias=flag(config, "use_bias", False),
        ),
    )


def _mamba2(config: Config, name: str) -> Architecture:
    """Read modeling_mamba2.py's shape."""
    hidden = size(config, "hidden_size", 4096)
    sizes = _without_attention(config, 32768, hidden, 64, tied=False)
    bias = flag(config, "use_bias", False)
    return Architecture(
        name=name,
        **sizes,
        mamba2=Mamba2(
            layers=tuple(range(sizes["num_layers"])),
            num_heads=size(config, "num_heads", 128),
            head_dim=size(config, "head_dim", 64),
            state_size=integer(config, "state_size", 128),
            num_groups=size(config, "n_groups", 8),
            conv_kernel=integer(config, "conv_kernel", 4),
            conv_bias=flag(config, "use_conv_bias", True),
            input_bias=bias,
            output_bias=bias,
        ),
    )


READERS: dict[str, Reader] = {"mamba": _mamba, "falcon_mamba": _mamba, "mamba2": _mamba2}
