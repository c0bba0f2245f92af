"""Families by the names of their classes, and which family an unknown model_type may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from sizer.errors import SizerError, UnknownName, listed, shown
from sizer.families.config_keys import Config, Reader, RecordedConfig
from sizer.families.config_notes import unread_keys

# A class's name is its family's without "_" and with one of these ends.
_END = re.compile(r"(For[A-Z]\w*|LMHeadModel|Model|DoubleHeadsModel)$")
_OTHER_NAMES = {
    "gemma3": "gemma3_text",
    "hunyuandensev1": "hunyuan_v1_dense",
    "llama4": "llama4_text",
    "qwen35": "qwen3_5_text",
    "openaigpt": "openai-gpt",
}
# Sizes that configs of a family leave out; one without any other size describes another kind of model.
_MAY_BE_MISSING = {
    *("decoder_sparse_step", "head_dim", "max_position_embeddings", "max_window_layers", "n_inner"),
    *("n_positions", "no_rope_layer_interval", "shared_intermediate_size", "sliding_window_pattern"),
}
_LETTERS = 80
# Keys that other files of a model have, or configs that are no decoder's, and what they are.
_NO_CONFIGS = {
    "peft_type": "the config of an adapter (adapter_config.json; sizer inspect shows what it adds)",
    "tokenizer_class": "the config of a tokenizer (tokenizer_config.json)",
    "_class_name": "a config of diffusers, for images",
    "n_kv_heads": "a params.json (Meta's or Mistral's own keys)",
    "n_heads": "a params.json (Meta's or Mistral's own keys)",
    "weight_map": "the index of a sharded model (model.safetensors.index.json)",
    "do_sample": "a generation_config.json",
    "temperature": "a generation_config.json",
}


def model_type_of_classes(classes: object, families: Iterable[str]) -> str | None:
    """Return the family whose class a config's `architectures` names; None if it names none that is known."""
    by_letters = {family.replace("_", "").replace("-", ""): family for family in families}
    for name in classes if isinstance(classes, list) else ():
        if isinstance(name, str):
            stem = _END.sub("", name[:_LETTERS]).replace("_", "").lower()
            family = _OTHER_NAMES.get(stem, by_letters.get(stem))
            if family is not None:
                return family
    return None


def missing_model_type(config: Config, families: Iterable[str]) -> str:
    """Return the error for a config without a family: what the object is, where its keys tell."""
    for key, what in _NO_CONFIGS.items():
        if key in config:
            return f"model_type: missing: this is {what}; accepted: the config.json of the model"
    return f"model_type: missing or not text; accepted: {listed(sorted(families, key=str.lower))}"


def unknown_model_type(config: Config, model_type: str, families: Mapping[str, Reader]) -> UnknownName:
    """Return the error for a family that is not read; it offers only families that this config describes."""
    near = get_close_matches(model_type[:_LETTERS].lower(), sorted(families), n=6, cutoff=0.5)
    fitting = [family for family in near if _describes(config, family, families[family])][:3]
    hint = f"did you mean {', '.join(fitting)}? " if fitting else ""
    return UnknownName(
        f"unknown model_type {shown(model_type)}; {hint}known: {listed(sorted(families, key=str.lower))}"
    )


def _describes(config: Config, family: str, read: Reader) -> bool:
    """Return True if a config has all sizes of a family, and no key that could add tensors to it."""
    recorded = RecordedConfig({**config, "model_type": family})
    try:
        read(recorded, "config")
    except SizerError:
        return False
    sizes = {key for key, value in recorded.defaults.items() if type(value) is int}
    return sizes <= _MAY_BE_MISSING and not any(unread_keys(recorded))
