"""Which kind of model file a path is, and the architecture it gives."""

from __future__ import annotations

from enum import StrEnum, unique
from pathlib import Path

from sizer.architecture import Architecture
from sizer.errors import InvalidFile
from sizer.readers.config_json import read_config_json
from sizer.readers.gguf_header import MAGIC
from sizer.readers.regular_file import exists, is_directory, open_regular

_ACCEPTED = "a config.json (or its directory), a .safetensors file or index.json, or a .gguf file"


@unique
class FileKind(StrEnum):
    """Kinds of model files that can be read."""

    CONFIG = "config.json"
    SAFETENSORS = "safetensors"
    GGUF = "gguf"


def kind_of(path: Path) -> FileKind:
    """Kind by the first bytes for GGUF (such files may have any name), else by the end of the name."""
    if is_directory(path):
        return FileKind.CONFIG
    name = path.name.lower()
    if name.endswith((".safetensors", ".safetensors.index.json")):
        return FileKind.SAFETENSORS
    if name.endswith(".json"):
        return FileKind.CONFIG
    if name.endswith(".gguf"):
        return FileKind.GGUF
    with open_regular(path, _ACCEPTED) as (stream, _):
        if stream.read(len(MAGIC)) == MAGIC:
            return FileKind.GGUF
    raise InvalidFile(f"model: {str(path)!r} is no kind of file known here; accepted: {_ACCEPTED}")


def read_model_file(path: Path) -> Architecture:
    """Architecture of a model file or directory; a .safetensors file needs config.json beside it."""
    kind = kind_of(path)
    if kind is FileKind.GGUF:
        from sizer.readers.gguf_architecture import architecture_from_gguf
        from sizer.readers.gguf_header import read_gguf

        return architecture_from_gguf(read_gguf(path))
    if kind is FileKind.SAFETENSORS:
        return config_beside(path)
    return read_config_json(path)


def config_beside(path: Path) -> Architecture:
    """Architecture from the config.json in a .safetensors file's directory."""
    config = path.parent / "config.json"
    if not exists(config):
        raise InvalidFile(
            f"model: {str(path)!r} says no architecture and there is no config.json beside it; "
            "accepted: a .safetensors file with its config.json in the same directory"
        )
    return read_config_json(config, name=path.resolve().parent.name)
