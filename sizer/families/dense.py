"""Decoders of Llama's kind: one row a family for what its keys default to and what its blocks have.

Defaults are those of transformers 5 (the dataclass fields of each `configuration_*.py`); families that its
releases do not know are in remote.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from sizer.architecture import MAX_LAYERS, Architecture, BlockNorms, NormKind
from sizer.errors import InvalidArchitecture, shown
from sizer.families.config_keys import (
    Config,
    Reader,
    activation,
    flag,
    head_dim_or,
    integer,
    kv_heads,
    own_ffn_sizes,
    own_flags,
    sharing_from_config,
    size,
    sliding,
    understood,
)

# Keys of biases on query, key and value; on attention's output; on the feed-forward block.
_LLAMA_BIASES = ("attention_bias", "attention_bias", "mlp_bias")
_ATTENTION_BIASES = ("attention_bias", "attention_bias", "")
_ONE_KEY = ("use_bias", "use_bias", "use_bias")
_NO_BIASES = ("", "", "")


class _DenseFamily(NamedTuple):
    """Defaults of a family's keys, the keys its biases go by, and what all its blocks have."""

    # vocab_size, hidden_size, intermediate_size, layers, heads, KV heads (None: as many), positions
    sizes: tuple[int, int, int, int, int, int | None, int]
    head_dim: int | None = None  # None: hidden_size / heads
    tie: bool = False
    biases: tuple[str, str, str] = _NO_BIASES
    bias_default: bool = False
    act: str = "silu"
    act_key: str = "hidden_act"
    gated: bool = True
    fields: Mapping[str, Any] = MappingProxyType({})  # of Architecture, in every model of the family


_NORMS_EACH_HEAD = {"qk_norm": True}
_NORMS_ALL_HEADS = {"qk_norm": True, "qk_norm_all_heads": True}
_LAYER_NORM = {"norm": NormKind.LAYERNORM}
_COHERE = {"block_norms": BlockNorms.ONE, "norm": NormKind.LAYERNORM_WITHOUT_BIAS}

_FAMILIES: Mapping[str, _DenseFamily] = {
    "arcee": _DenseFamily(
        (32000, 2560, 18432, 32, 32, None, 4096), biases=_LLAMA_BIASES, act="relu2", gated=False
    ),
    "cohere": _DenseFamily(
        (256000, 8192, 22528, 40, 64, None, 8192), tie=True, biases=_ATTENTION_BIASES, fields=_COHERE
    ),
    "cohere2": _DenseFamily(
        (256000, 8192, 22528, 40, 64, None, 8192), tie=True, biases=_ATTENTION_BIASES, fields=_COHERE
    ),
    "cwm": _DenseFamily((128256, 6144, 21504, 64, 48, 8, 131072), 128, biases=("", "", "mlp_bias")),
    "ernie4_5": _DenseFamily((103424, 1024, 3072, 18, 16, 2, 131072), 128, tie=True, biases=_ONE_KEY),
    "exaone4": _DenseFamily(
        (102400, 4096, 16384, 32, 32, 32, 2048), fields={**_NORMS_EACH_HEAD, "block_norms": BlockNorms.POST}
    ),
    "glm": _DenseFamily(
        (151552, 4096, 13696, 40, 32, 2, 131072),
        128,
        biases=("attention_bias", "", ""),
        bias_default=True,
        fields={"fused_gate_up": True},
    ),
    "glm4": _DenseFamily(
        (151552, 4096, 13696, 40, 32, 2, 131072),
        128,
        biases=("attention_bias", "", ""),
        bias_default=True,
        fields={"fused_gate_up": True, "block_norms": BlockNorms.BOTH},
    ),
    "glm4v_text": _DenseFamily(
        (151552, 4096, 13696, 40, 32, 2, 32768),
        fields={"fused_gate_up": True, "block_norms": BlockNorms.BOTH, "qkv_bias": True},
    ),
    "glm_ocr_text": _DenseFamily(
        (59392, 1024, 4096, 16, 16, 8, 131072),
        fields={"fused_gate_up": True, "block_norms": BlockNorms.BOTH},
    ),
    "helium": _DenseFamily(
        (48000, 2560, 7040, 24, 20, 20, 4096), 128, biases=("attention_bias", "", "mlp_bias")
    ),
    "hunyuan_v1_dense": _DenseFamily(
        (290943, 4096, 11008, 32, 32, None, 2048), biases=_ATTENTION_BIASES, fields=_NORMS_EACH_HEAD
    ),
    "hunyuan_vl_text": _DenseFamily(
        (290943, 4096, 11008, 32, 32, None, 2048),
        tie=True,
        biases=_ATTENTION_BIASES,
        fields=_NORMS_EACH_HEAD,
    ),
    "hyperclovax": _DenseFamily((32000, 4096, 11008, 32, 32, None, 2048), biases=_LLAMA_BIASES),
    "internlm3": _DenseFamily((128512, 4096, 10240, 48, 32, 2, 32768), 128, biases=_LLAMA_BIASES),
    "iquestcoder": _DenseFamily((76800, 5120, 27648, 80, 40, 8, 131072), 128, biases=_LLAMA_BIASES),
    "jais2": _DenseFamily(
        (150272, 3328, 26624, 32, 26, None, 8192),
        biases=_LLAMA_BIASES,
        bias_default=True,
        act="relu2",
        gated=False,
        fields=_LAYER_NORM,
    ),
    "llama": _DenseFamily((32000, 4096, 11008, 32, 32, None, 2048), biases=_LLAMA_BIASES),
    "ministral": _DenseFamily((32000, 4096, 14336, 32, 32, 8, 131072)),
    "ministral3": _DenseFamily((131072, 4096, 14336, 34, 32, 8, 262144), 128),
    "mistral": _DenseFamily((32000, 4096, 14336, 32, 32, 8, 131072)),
    # norms without weights everywhere, on query and key as well
    "nanochat": _DenseFamily(
        (50304, 768, 8192, 12, 6, None, 2048),
        biases=_ATTENTION_BIASES,
        act="relu2",
        gated=False,
        fields={"norm": NormKind.NONE},
    ),
    "nemotron": _DenseFamily(
        (256000, 6144, 24576, 32, 48, None, 4096),
        biases=_LLAMA_BIASES,
        act="relu2",
        gated=False,
        fields=_LAYER_NORM,
    ),
    "olmo3": _DenseFamily(
        (50304, 4096, 11008, 32, 32, None, 2048),
        biases=_ATTENTION_BIASES,
        fields={**_NORMS_ALL_HEADS, "block_norms": BlockNorms.POST},
    ),
    "paddleocr_vl_text": _DenseFamily(
        (103424, 1024, 3072, 18, 16, 2, 131072), 128, tie=True, biases=_ONE_KEY
    ),
    "qwen2": _DenseFamily((151936, 4096, 22016, 32, 32, 32, 32768), fields={"qkv_bias": True}),
    "qwen2_5_omni_text": _DenseFamily(
        (152064, 3584, 18944, 28, 28, 4, 32768), tie=True, fields={"qkv_bias": True}
    ),
    "qwen2_5_vl_text": _DenseFamily((152064, 8192, 29568, 80, 64, 8, 32768), fields={"qkv_bias": True}),
    "qwen2_vl_text": _DenseFamily((152064, 8192, 29568, 80, 64, 8, 32768), fields={"qkv_bias": True}),
    "qwen3": _DenseFamily(
        (151936, 4096, 22016, 32, 32, 32, 32768), 128, biases=_ATTENTION_BIASES, fields=_NORMS_EACH_HEAD
    ),
    "qwen3_vl_text": _DenseFamily(
        (151936, 4096, 22016, 32, 32, 32, 128000), 128, biases=_ATTENTION_BIASES, fields=_NORMS_EACH_HEAD
    ),
    "seed_oss": _DenseFamily(
        (155136, 4096, 27648, 64, 80, 8, 524288), 128, biases=("", "attention_out_bias", "mlp_bias")
    ),
    "smollm3": _DenseFamily((128256, 2048, 11008, 36, 16, 4, 32768), tie=True, biases=_LLAMA_BIASES),
    "starcoder2": _DenseFamily(
        (49152, 3072, 12288, 30, 24, 2, 4096),
        tie=True,
        biases=_ONE_KEY,
        bias_default=True,
        act="gelu_pytorch_tanh",
        gated=False,
        fields=_LAYER_NORM,
    ),
    "vaultgemma": _DenseFamily(
        (256000, 2304, 9216, 26, 8, 4, 8192),
        256,
        tie=True,
        biases=_ATTENTION_BIASES,
        act="gelu_pytorch_tanh",
        act_key="hidden_activation",
    ),
}


def _written(config: Config, key: str, default: int) -> int:
    """Read a size; a default stands for a key left out, but null is refused as transformers does."""
    return integer(config, key, None if key in config else default)


def _decoder(config: Config, name: str) -> Architecture:
    """Read a family by its row, then what only its own keys state."""
    model_type = str(config["model_type"])
    family = _FAMILIES[model_type]
    vocab, hidden_default, intermediate, layers, heads_default, kv_default, positions = family.sizes
    hidden = _written(config, "hidden_size", hidden_default)
    heads = _written(config, "num_attention_heads", heads_default)
    num_layers = size(config, "num_hidden_layers", layers, MAX_LAYERS)
    qkv, output, mlp = (flag(config, key, family.bias_default) if key else False for key in family.biases)
    shape: dict[str, Any] = {
        "vocab_size": _written(config, "vocab_size", vocab),
        "num_layers": num_layers,
        "hidden_size": hidden,
        "intermediate_size": _written(config, "intermediate_size", intermediate),
        "num_heads": heads,
        "num_kv_heads": kv_heads(config, heads, kv_default),
        "head_dim": head_dim_or(config, hidden, heads, family.head_dim),
        "mlp": activation(config, family.act_key, family.act, gated=family.gated),
        "tie_embeddings": flag(config, "tie_word_embeddings", family.tie),
        "qkv_bias": qkv,
        "attention_output_bias": output,
        "mlp_bias": mlp,
        "max_position_embeddings": integer(config, "max_position_embeddings", positions),
        "sharing": sharing_from_config(config.get("sharing")),
        **own_flags(config),
        **own_ffn_sizes(config),
        **family.fields,
    }
    if own := _OWN.get(model_type):
        shape |= own(config, num_layers, shape)
    return Architecture(name=name, **shape)


Shape = Mapping[str, Any]


def _always(layer: int) -> bool:
    return True


def _mistral(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    return sliding(config, layers, 4096, _always)


def _without_windows(config: Config) -> dict[str, Any]:
    """Return no windows: the keys that describe them have no effect."""
    understood(config, "sliding_window", "max_window_layers", "layer_types", "no_rope_layers")
    return {}


def _qwen(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    """Read windows of Qwen2 and Qwen3: only with use_sliding_window, from layer max_window_layers on."""
    if not flag(config, "use_sliding_window", False):
        return _without_windows(config)
    first = integer(config, "max_window_layers", 80 if "vl" in str(config["model_type"]) else 28)
    return sliding(config, layers, 4096, lambda layer: layer >= first)


def _smollm3(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    """Read windows of SmolLM3: only with use_sliding_window, in layers without rotary positions."""
    if not flag(config, "use_sliding_window", False):
        return _without_windows(config)
    listed = config.get("no_rope_layers")
    interval = size(config, "no_rope_layer_interval", 4)
    if isinstance(listed, list) and len(listed) == layers:
        return sliding(config, layers, None, lambda layer: not listed[layer])
    return sliding(config, layers, None, lambda layer: not (layer + 1) % interval)


def _three_of_four(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    return sliding(config, layers, 4096, lambda layer: bool((layer + 1) % 4))


def _exaone4(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    """Read windows of EXAONE-4: all layers but every fourth, or by letters such as LLLG (local, global)."""
    letters = config.get("sliding_window_pattern")
    if isinstance(letters, str) and letters and set(letters) <= {"L", "G"}:
        return sliding(config, layers, 4096, lambda layer: letters[layer % len(letters)] == "L")
    period = size(config, "sliding_window_pattern", 4)
    return sliding(config, layers, 4096, lambda layer: bool((layer + 1) % period))


def _cwm(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    return sliding(config, layers, 8192, lambda layer: bool(layer % 4))


def _vaultgemma(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    return sliding(config, layers, 4096, lambda layer: bool((layer + 1) % 2))


def _starcoder2(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    return sliding(config, layers, None, _always)


def _cohere(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    """Read Command R+'s norms on query and key: each head has its own."""
    norms = flag(config, "use_qk_norm", False)
    return {"qk_norm": norms, "qk_norm_each_head": norms}


def _hyperclovax(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    after = flag(config, "use_post_norm", True)
    return {"block_norms": BlockNorms.BOTH if after else BlockNorms.PRE}


def _seed_oss(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    return {"qkv_bias": flag(config, "attention_bias", True)}


def _internlm3(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    """Read biases by InternLM3's own names, which transformers maps to Llama's."""
    attention = flag(config, "qkv_bias", bool(shape["qkv_bias"]))
    return {
        "qkv_bias": attention,
        "attention_output_bias": attention,
        "mlp_bias": flag(config, "bias", bool(shape["mlp_bias"])),
    }


def _helium(config: Config, layers: int, shape: Shape) -> dict[str, Any]:
    """Refuse heads that do not fill the residual stream: Helium's output projection is square."""
    if shape["num_heads"] * shape["head_dim"] != shape["hidden_size"]:
        raise InvalidArchitecture(
            f"head_dim: {shown(shape['head_dim'])} x {shape['num_heads']} heads is not hidden_size "
            f"{shape['hidden_size']}, as model_type 'helium' needs"
        )
    return {}


_OWN = {
    **dict.fromkeys(("qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text"), _qwen),
    "cohere": _cohere,
    "cohere2": _three_of_four,
    "cwm": _cwm,
    "exaone4": _exaone4,
    "helium": _helium,
    "hyperclovax": _hyperclovax,
    "internlm3": _internlm3,
    "ministral": _mistral,
    "mistral": _mistral,
    "olmo3": _three_of_four,
    "qwen2": _qwen,
    "qwen3": _qwen,
    "seed_oss": _seed_oss,
    "smollm3": _smollm3,
    "starcoder2": _starcoder2,
    "ministral3": _starcoder2,
    "vaultgemma": _vaultgemma,
}

READERS: dict[str, Reader] = dict.fromkeys(_FAMILIES, _decoder)
