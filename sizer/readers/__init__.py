"""Where an architecture comes from outside: catalogue names, files, the Hub; each reader loaded on use."""

from __future__ import annotations

from pathlib import Path

from sizer.architecture import Architecture
from sizer.errors import UnknownName
from sizer.readers.regular_file import exists
from sizer.registry import model, models

_SUFFIXES = (".json", ".safetensors", ".gguf")


def read_model(text: str) -> Architecture:
    """Architecture of a catalogue name, a model file or directory, `hf:org/name` or `shape:` and its code."""
    if text.startswith("hf:"):
        from sizer.readers.hub import read_hub_config

        return read_hub_config(text)
    if text.startswith("shape:"):
        from sizer.shape_code import PREFIX, architecture_of_code

        return architecture_of_code(text.removeprefix(PREFIX))
    path = Path(text)
    if path.suffix.lower() in _SUFFIXES or exists(path):
        from sizer.readers.model_file import read_model_file

        return read_model_file(path)
    try:
        return model(text).architecture
    except UnknownName:
        kind = "model (nor is it a config.json, .safetensors or .gguf file, or a directory with config.json)"
        raise UnknownName.of(kind, text, models()) from None
