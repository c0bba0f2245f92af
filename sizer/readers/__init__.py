"""Where an architecture comes from outside: catalogue names, files, the Hub; each reader loaded on use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sizer.architecture import Architecture
from sizer.families.hf_config import ModelReading
from sizer.readers.regular_file import exists, is_directory
from sizer.registry import model, models

if TYPE_CHECKING:
    from sizer.readers.stored_format import StoredFormat

# A name without these is not looked at again: most runs are of names as the catalogue has them.
_MAY_END_IN_FORMAT = re.compile(r"(?i)bit|gptq|awq|bnb|gguf|mlc|int[48]|[qf][1-8]|fp[48]|w[48]a")
_SUFFIXES = (".json", ".safetensors", ".gguf")


def gguf_path(text: str) -> Path | None:
    """Return the path of a GGUF file (by its ending, its first bytes, or alone in a folder), else None."""
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix == ".gguf":
        return None if _is_name_of_file(path) else path
    if suffix in _SUFFIXES or not exists(path):
        return None
    if is_directory(path):
        if exists(path / "config.json"):
            return None
        from sizer.readers.gguf_split import gguf_in_folder

        return gguf_in_folder(path)
    from sizer.readers.model_file import FileKind, kind_of

    return path if kind_of(path) is FileKind.GGUF else None


def read_model(text: str) -> Architecture:
    """Read an architecture by catalogue name, model file or directory, `hf:org/name` or `shape:` code."""
    return _reading(text).architecture


def read_described_model(source: str | Mapping[str, Any]) -> ModelReading:
    """Read a model by its name, file, directory, code or config keys, and what was assumed about it.

    Where a file describes a vision or audio model, an installed transformers counts the parts other than the
    text decoder, which takes seconds.
    """
    reading = _reading(source)
    if not reading.is_part or not isinstance(source, str):
        return reading
    from sizer.readers.counted_config import beside_text_note

    return reading._replace(notes=(*reading.notes, beside_text_note(source, reading.architecture)))


def _reading(text: str | Mapping[str, Any]) -> ModelReading:
    if not isinstance(text, str):
        from sizer.readers.config_json import describe_config

        return describe_config(text)
    if text.startswith("hf:"):
        from sizer.readers.hub import read_hub_config

        return read_hub_config(text)
    if text.startswith("shape:"):
        from sizer.shape_code import PREFIX, architecture_of_code

        return ModelReading(architecture_of_code(text.removeprefix(PREFIX)))
    path = Path(text)
    is_name = _is_name_of_file(path)
    if exists(path) or (path.suffix.lower() in _SUFFIXES and not is_name):
        from sizer.readers.model_file import read_described_file

        return read_described_file(path)
    kind = "model (nor is it a config.json, .safetensors or .gguf file, or a directory with config.json)"
    known = model(text, kind)
    notes = known.notes
    if is_name:
        notes = (f"no file {text} is here: the known model {known.architecture.name} in its place", *notes)
    return ModelReading(known.architecture, notes, _format_in_name(text))


def _is_name_of_file(path: Path) -> bool:
    """Return True for the bare name of a published file that is not here and whose model is known by name."""
    if path.suffix.lower() not in (".gguf", ".safetensors") or path.name != str(path) or exists(path):
        return False
    from sizer.model_names import find

    known = models()
    return find(path.name, known, known.aliases())[0] is not None


def _format_in_name(text: str) -> StoredFormat | None:
    if not _MAY_END_IN_FORMAT.search(text):
        return None
    from sizer.readers.format_in_name import format_in_name

    return format_in_name(text, models())
