"""The text decoder in a config of a vision, audio or omni model, and what else such a config describes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sizer.errors import shown
from sizer.families.config_keys import PART_NOTE, Config

# Where configs keep the text decoder: transformers, then remote code of vision and audio models.
_TEXT_KEYS = ("text_config", "llm_config", "language_config", "lm_config", "language_model_config")
# Wrappers around wrappers: Qwen's omni models.
_OUTER_KEYS = ("thinker_config",)
_MAX_DEPTH = 3

# Text decoders of vision models whose keys lie next to vision_config, not under text_config: older ones of
# transformers, LLaVA's own code, Phi's.
_FLAT = {
    "qwen2_vl": "qwen2_vl_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    **{"llava_llama": "llama", "llava_mistral": "mistral", "llava_qwen": "qwen2", "llava_qwen2": "qwen2"},
    **dict.fromkeys(("phi3_v", "phi4mm"), "phi3"),
}
# MiniCPM-V and -o name the decoder by a version alone (modeling_minicpmv.py).
_BY_VERSION = {"2.5": "llama", "2.6": "qwen2", "4.5": "qwen3"}
# Text decoders that hold the tensors of a text model's family; all keys that size the experts must be there.
_SAME_TENSORS = {"qwen3_vl_moe_text": "qwen3_moe", "qwen3_omni_moe_text": "qwen3_moe"}
_EXPERT_KEYS = {"num_experts", "moe_intermediate_size", "num_hidden_layers", "hidden_size", "vocab_size"}
# model_type of a text_config that names none (sub_configs_defaults of transformers 5).
_DEFAULT_TEXT = {
    **dict.fromkeys(("aya_vision", "cohere2_vision"), "cohere2"),
    "exaone4_5": "exaone4",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    **dict.fromkeys(("granite_speech", "granite_speech_plus"), "granite"),
    "idefics2": "mistral",
    "lfm2_vl": "lfm2",
    **dict.fromkeys(("lighton_ocr", "qianfan_ocr", "qwen3_asr"), "qwen3"),
    "llama4": "llama4_text",
    "mistral3": "mistral",
    "mllama": "mllama_text_model",
    "paligemma": "gemma",
    **dict.fromkeys(
        ("audioflamingo3", "fast_vlm", "got_ocr2", "internvl", "llava_onevision", "ovis2", "qwen2_audio"),
        "qwen2",
    ),
    **dict.fromkeys(
        ("deepseek_vl", "glmasr", "idefics3", "janus", "llava", "llava_next", "llava_next_video"), "llama"
    ),
    **dict.fromkeys(("perception_lm", "smolvlm", "video_llava", "vipllava", "voxtral"), "llama"),
}
# Whether the head is tied where neither the whole nor the text config has it (the classes' defaults); of the
# rest the text family's own default stands.
_TIED = {
    *("aya_vision", "cohere2_vision", "deepseek_vl", "gemma3", "glmasr", "got_ocr2", "granite_speech"),
    *("granite_speech_plus", "internvl", "janus", "lfm2_vl", "lighton_ocr", "mistral3", "ovis2", "paligemma"),
    "qwen3_asr",
}
_UNTIED = {
    *("exaone4_5", "fast_vlm", "idefics2", "idefics3", "llava_next", "llava_next_video", "perception_lm"),
    *("qianfan_ocr", "qwen3_vl", "smolvlm", "video_llava", "vipllava"),
    *("audioflamingo3", "qwen2_audio", "voxtral"),
}
# In these the text config's key counts as well as the whole's, or alone.
_TEXT_KEY_COUNTS = {"glm4v", "glm_ocr", "llava", "llava_onevision", "qwen2_vl", "qwen2_5_vl"}
_EITHER_DEFAULT_TIES = {"hunyuan_vl", "paddleocr_vl"}
_TEXT_KEY_ALONE = {"llama4", "qwen3_5", "qwen3_5_moe"}
_NEVER_TIED = {"audioflamingo3", "qwen2_audio", "voxtral"}


class TextPart(NamedTuple):
    """Keys of a text decoder, where they were found, and the other parts of the model."""

    config: Config
    path: str
    wrapper: str
    others: tuple[str, ...]

    @property
    def note(self) -> str:
        """Return the assumption that only the text decoder is sized."""
        rest = f"; not part of it: {', '.join(self.others)}" if self.others else ""
        return f"{PART_NOTE}{self.wrapper}, read from {self.path}{rest}"


def text_part(config: Config, known: Mapping[str, object]) -> TextPart | None:
    """Return the text decoder of a config that wraps one; None where the config is a text model's own."""
    model_type = config.get("model_type")
    kind = model_type if isinstance(model_type, str) else None
    flat = _flat_family(kind, config)
    if kind is not None and flat is not None:
        keys = {key: value for key, value in config.items() if not _PART.match(str(key))}
        return TextPart({**keys, "model_type": flat}, "its own keys", kind, _others(config, ""))
    if kind in known and "num_hidden_layers" in config:
        return None
    inner, path = config, ""
    for _ in range(_MAX_DEPTH):
        key = next((k for k in (*_TEXT_KEYS, *_OUTER_KEYS) if isinstance(inner.get(k), Mapping)), None)
        if key is None:
            break
        outer, inner, path = inner, inner[key], f"{path}.{key}".lstrip(".")
        wraps = "hidden_size" not in inner and any(isinstance(inner.get(k), Mapping) for k in _TEXT_KEYS)
        if key in _TEXT_KEYS and not wraps:
            text = _merged(outer, inner)
            return TextPart(text, path, shown(_name(config)).strip("'"), _others(config, path))
    return None


def _flat_family(kind: str | None, config: Config) -> str | None:
    """Return the family of a text decoder whose keys lie next to those of the other parts."""
    if kind is None or any(isinstance(config.get(key), Mapping) for key in _TEXT_KEYS):
        return None
    if kind in ("minicpmv", "minicpmo") and "hidden_size" in config:
        return _BY_VERSION.get(str(config.get("version")))
    return _FLAT.get(kind)


def _merged(outer: Config, text: Config) -> Config:
    """Return the text decoder's keys, with the family and the tied head that the outer config decides."""
    named = outer.get("model_type")
    kind = named if isinstance(named, str) else ""
    merged = dict(text)
    if merged.get("model_type") is None and not merged.get("architectures"):
        merged["model_type"] = _DEFAULT_TEXT.get(kind, f"{kind}_text" if kind else None)
    if (same := _SAME_TENSORS.get(str(merged.get("model_type")))) and merged.keys() >= _EXPERT_KEYS:
        merged["model_type"] = same
    tied = _tied(kind, outer.get("tie_word_embeddings"), text.get("tie_word_embeddings"))
    if tied is not None:
        merged["tie_word_embeddings"] = tied
    return merged


def _tied(kind: str, outer: object, text: object) -> object:
    """Return whether the head is tied by the outer and the text config's keys; None: the family's default."""
    if kind in _NEVER_TIED:
        return False
    if kind in _TEXT_KEY_ALONE:
        return text
    if kind in _EITHER_DEFAULT_TIES:
        return outer is not False or text is not False
    if kind in _TEXT_KEY_COUNTS and text is True:
        return True
    if outer is not None:
        return outer
    if kind in _TIED:
        return True
    return False if kind in _UNTIED else text


def _name(config: Config) -> str:
    kind = config.get("model_type")
    if isinstance(kind, str):
        return kind
    listed = config.get("architectures")
    return str(listed[0]) if isinstance(listed, Sequence) and listed else "a model"


_PART = re.compile(r"(vision|visual|audio|speech|image|video|talker|code2wav|token2wav|vq|qformer|projector)")


def _others(config: Config, path: str) -> tuple[str, ...]:
    """Return the names of the parts that are not on the path, with their model_type where they have one."""
    inside, _, rest = path.partition(".")
    found: list[str] = []
    for key, value in config.items():
        if not isinstance(value, Mapping):
            continue
        if key == inside:
            found += _others(value, rest)
        elif _PART.match(str(key)):
            kind = value.get("model_type")
            found.append(f"{key} ({kind[:60]})" if isinstance(kind, str) and kind.isprintable() else str(key))
    return tuple(found[:6])
