"""Hugging Face config.json keys to an Architecture and back, one reader per model family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from sizer.architecture import Architecture, MlpKind, NormKind, PositionKind
from sizer.block_kinds import EXPERT_FIELDS
from sizer.errors import InvalidArchitecture
from sizer.families.config_keys import (
    FFN_SIZES,
    OWN_FLAGS,
    PART_NOTE,
    Config,
    Reader,
    RecordedConfig,
    sharing_from_config,
)

if TYPE_CHECKING:
    from sizer.readers.stored_format import StoredFormat

__all__ = [
    "FAMILIES",
    "ModelReading",
    "architecture_from_config",
    "config_from_architecture",
    "read_config",
    "sharing_from_config",
]

# Fields beyond Llama's that a config of each model_type states; of the others FFN sizes by layer alone
_STATED = {
    "mixtral": EXPERT_FIELDS,
    "lfm2": ("conv_layers",),
    "granite_swa": (FFN_SIZES, "attention_sinks"),
}

# Keys that add tensors: a family that does not ask for them does not have them.
_OF_OTHER_LAYERS = ("num_local_experts", "num_experts", "n_routed_experts", "kv_lora_rank")


class ModelReading(NamedTuple):
    """Architecture of a model from outside, what was assumed, and how its config stores weights."""

    architecture: Architecture
    notes: tuple[str, ...] = ()
    stored: StoredFormat | None = None

    @property
    def is_part(self) -> bool:
        """True if the architecture is the text decoder of a larger model."""
        return any(note.startswith(PART_NOTE) for note in self.notes)


def architecture_from_config(config: Config, name: str = "config") -> Architecture:
    """Read the architecture from the keys of a config.json; errors name the key and what is accepted."""
    return _read(config, name)[0]


def read_config(config: Config, name: str = "config") -> ModelReading:
    """Read a config.json: the architecture, defaults that were taken, keys that were not understood."""
    from sizer.families.config_notes import config_notes

    architecture, recorded, notes = _read(config, name)
    return ModelReading(architecture, (*notes, *config_notes(recorded)))


def _read(config: Config, name: str) -> tuple[Architecture, RecordedConfig, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    if "num_hidden_layers" not in config and isinstance(compiled := config.get("model_config"), Mapping):
        config = {"model_type": config.get("model_type"), **compiled}
        notes = ("read from model_config (the mlc-chat-config.json of MLC)",)
    if "num_hidden_layers" not in config or not _is_known(config.get("model_type")):
        from sizer.families.nested import text_part

        part = text_part(config, FAMILIES)
        if part is not None:
            config, notes = part.config, (*notes, part.note)
    model_type = config.get("model_type")
    if not _is_known(model_type):
        from sizer.families.earlier import as_today

        today = as_today(config)
        if today is not None:
            config, notes = today[0], (*notes, today[1])
            model_type = config["model_type"]
    if model_type is None:
        from sizer.families.class_names import model_type_of_classes

        model_type = model_type_of_classes(config.get("architectures"), FAMILIES)
        if model_type is not None:
            notes += (f"model_type: missing, read as {model_type} by architectures",)
    if not isinstance(model_type, str):
        from sizer.families.class_names import missing_model_type

        raise InvalidArchitecture(missing_model_type(config, FAMILIES))
    reader = FAMILIES.get(model_type)
    if reader is None:
        from sizer.families.class_names import unknown_model_type

        raise unknown_model_type(config, model_type, FAMILIES)
    recorded = RecordedConfig({**config, "model_type": model_type})
    architecture = reader(recorded, name)
    # a label that equality leaves out, on a value that nobody else has yet: replace() checks all fields again
    object.__setattr__(architecture, "model_type", model_type)
    for key in _OF_OTHER_LAYERS if model_type in _OF_ONE_KIND else ():
        if key not in recorded.asked and recorded.get(key):
            raise InvalidArchitecture(f"{key}: not supported for model_type {model_type!r}")
    return architecture, recorded, notes


def _is_known(model_type: object) -> bool:
    return isinstance(model_type, str) and model_type in FAMILIES


def config_from_architecture(architecture: Architecture) -> dict[str, Any]:
    """Return the Hugging Face config keys of an architecture, and own keys for sharing and FFN sizes.

    Raises InvalidArchitecture for a shape that none of our families can express.
    """
    a = architecture
    acts = {MlpKind.SWIGLU: "silu", MlpKind.GEGLU: "gelu"}
    model_type = _model_type(a)
    known = _STATED.get(model_type, (FFN_SIZES,))
    if other := [name for name in a.beyond_llama if name not in known]:
        raise InvalidArchitecture(f"config: no known model_type can express {', '.join(other)}")
    if a.sliding_layers and model_type != "granite_swa":
        raise InvalidArchitecture("config: sliding_layers cannot be expressed; accepted: full attention")
    if a.mlp not in acts or a.norm is not NormKind.RMSNORM or a.position is not PositionKind.ROPE:
        raise InvalidArchitecture(
            f"config: no known model_type has mlp {a.mlp.value}, norm {a.norm.value} and position "
            f"{a.position.value} together"
        )
    config: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "num_hidden_layers": a.num_layers,
        "num_attention_heads": a.num_heads,
        "num_key_value_heads": a.num_kv_heads,
        "head_dim": a.head_dim,
        **({} if a.conv_layers else {"hidden_act": acts[a.mlp]}),
        "tie_word_embeddings": a.tie_embeddings,
        "max_position_embeddings": a.max_position_embeddings,
    }
    if model_type in ("llama", "granite_swa"):
        config |= {"attention_bias": a.qkv_bias, "mlp_bias": a.mlp_bias}
    if a.num_experts:
        config |= {"num_local_experts": a.num_experts, "num_experts_per_tok": a.num_experts_per_tok}
    if a.sliding_layers:
        config["sliding_window"] = a.sliding_window
        config["layer_types"] = _layer_types(a, a.sliding_layers, "sliding_attention")
    if a.conv_layers:
        config |= {"conv_L_cache": a.conv_kernel, "conv_bias": a.conv_bias, "block_auto_adjust_ff_dim": False}
        config["layer_types"] = _layer_types(a, a.conv_layers, "conv")
    config |= {key: True for key in OWN_FLAGS if getattr(a, key)}
    if a.layer_intermediate_sizes:
        config[FFN_SIZES] = list(a.layer_intermediate_sizes)
    if a.sharing.repeat > 1:
        config["sharing"] = a.sharing.to_dict()
    return config


def _model_type(a: Architecture) -> str:
    """Return the model_type with these blocks; another's where a config of the nearest cannot state them."""
    biases = a.qkv_bias or a.attention_output_bias or a.mlp_bias
    if a.num_experts and not (a.qk_norm or a.sliding_layers or biases):
        return "mixtral"
    if a.conv_layers and a.qk_norm and a.mlp is MlpKind.SWIGLU and not (a.sliding_layers or biases):
        return "lfm2"
    if a.attention_sinks and a.sliding_layers and not (a.qk_norm or a.qkv_bias):
        return "granite_swa"
    if a.qk_norm:
        return "qwen3"
    return "qwen2" if a.qkv_bias and not a.attention_output_bias else "llama"


def _layer_types(a: Architecture, layers: Sequence[int], kind: str) -> list[str]:
    """Return for each layer that kind, or full attention."""
    of_kind = frozenset(layers)
    return [kind if layer in of_kind else "full_attention" for layer in range(a.num_layers)]


def _loaded(kind: str) -> Reader:
    """Return a reader that loads its file on first use: most runs read one family or none."""

    def read(config: Config, name: str) -> Architecture:
        readers: Mapping[str, Reader] = import_module(f"sizer.families.{kind}").READERS
        return readers[config["model_type"]](config, name)

    return read


_DENSE = (
    *("arcee", "cohere", "cohere2", "cwm", "ernie4_5", "exaone4", "glm", "glm4", "glm4v_text"),
    *("glm_ocr_text", "helium", "hunyuan_v1_dense", "hunyuan_vl_text", "hyperclovax", "internlm3"),
    *("iquestcoder", "jais2", "llama", "ministral", "ministral3", "mistral", "nanochat", "nemotron"),
    *("olmo3", "paddleocr_vl_text", "qwen2", "qwen2_5_omni_text", "qwen2_5_vl_text", "qwen2_vl_text"),
    *("qwen3", "qwen3_vl_text", "seed_oss", "smollm3", "starcoder2", "vaultgemma"),
)
_EXPERTS = (
    *("flex_olmo", "granitemoe", "granitemoeshared", "mixtral", "olmoe", "phimoe", "qwen2_moe", "qwen3_moe"),
)
_GATED = (
    *("bitnet", "gemma", "gemma2", "gemma3_text", "granite", "granite_swa", "olmo", "olmo2", "phi3"),
    "stablelm",
)
_PLAIN = ("bloom", "distilbert", "falcon", "gpt-sw3", "gpt2", "gpt_neo", "gpt_neox", "opt", "phi")
_MAMBA = ("falcon_mamba", "mamba", "mamba2")
_HYBRIDS = ("bamba", "falcon_h1", "granitemoehybrid", "jamba", "nemotron_h")
_LINEAR = ("qwen3_5_moe_text", "qwen3_5_text", "qwen3_next")
_LATENT = ("deepseek", "deepseek_v2", "deepseek_v3", "minicpm3")
_SHARED_EXPERTS = (
    *("dots1", "ernie4_5_moe", "glm4_moe", "gpt_oss", "hunyuan_v1_moe", "lfm2_moe", "llama4_text"),
)
_PER_LAYER = ("gemma3n_text", "gemma4_text")
_OLDER = (*("biogpt", "codegen", "ctrl", "gpt_bigcode", "gptj", "mpt", "openai-gpt", "persimmon", "xglm"),)
_REMOTE = (
    *("aquila", "baichuan", "chatglm", "exaone", "internlm", "internlm2", "mimo", "minicpm", "mobilellm"),
    *("orion", "phi3small", "qwen", "xverse", "Yi"),
)

_OF_ONE_KIND = frozenset((*_DENSE, *_EXPERTS, *_GATED, *_OLDER, *_PLAIN, *_REMOTE, "lfm2", "openelm"))

FAMILIES: Mapping[str, Reader] = {
    **dict.fromkeys(_DENSE, _loaded("dense")),
    **dict.fromkeys(_EXPERTS, _loaded("experts")),
    **dict.fromkeys(_GATED, _loaded("gated")),
    **dict.fromkeys(_OLDER, _loaded("older")),
    **dict.fromkeys(_PLAIN, _loaded("plain")),
    **dict.fromkeys(_HYBRIDS, _loaded("hybrids")),
    **dict.fromkeys(_LATENT, _loaded("latent")),
    **dict.fromkeys(_LINEAR, _loaded("linear")),
    **dict.fromkeys(_SHARED_EXPERTS, _loaded("shared_experts")),
    **dict.fromkeys(_PER_LAYER, _loaded("per_layer")),
    "zamba2": _loaded("zamba"),
    **dict.fromkeys(_MAMBA, _loaded("mamba")),
    **dict.fromkeys(_REMOTE, _loaded("remote")),
    "lfm2": _loaded("layered"),
    "openelm": _loaded("scaled"),
}
