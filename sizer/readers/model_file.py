"""Which kind of model file a path is, and the architecture it gives."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from pathlib import Path
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import InvalidFile
from sizer.families.hf_config import ModelReading, architecture_from_config
from sizer.readers.config_json import (
    describe_config,
    read_config_json,
    read_described_config,
    read_object,
)
from sizer.readers.gguf_header import MAGIC
from sizer.readers.regular_file import exists, is_directory, open_regular

ADAPTER_CONFIG = "adapter_config.json"
_ACCEPTED = "a config.json (or its directory), a .safetensors file or index.json, or a .gguf file"


@unique
class FileKind(StrEnum):
    """Kinds of model files that can be read."""

    CONFIG = "config.json"
    SAFETENSORS = "safetensors"
    GGUF = "gguf"


def kind_of(path: Path) -> FileKind:
    """Return the kind of file: by its first bytes for GGUF (any name), else by the end of its name."""
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
    raise InvalidFile(f"model: {str(path)!r} is not a known kind of file; accepted: {_ACCEPTED}")


def read_described_file(path: Path) -> ModelReading:
    """Read a model file or directory, and what was assumed about it."""
    kind = kind_of(path)
    if kind is FileKind.GGUF:
        return ModelReading(read_model_file(path))
    if kind is FileKind.SAFETENSORS:
        return describe_config(object_beside(path), path.resolve().parent.name)
    _require_no_adapter(path)
    return read_described_config(path)


def read_model_file(path: Path) -> Architecture:
    """Read the architecture of a model file or directory; .safetensors needs config.json in its directory."""
    kind = kind_of(path)
    if kind is FileKind.GGUF:
        from sizer.readers.gguf_architecture import architecture_from_gguf
        from sizer.readers.gguf_split import read_gguf_set

        return architecture_from_gguf(read_gguf_set(path))
    if kind is FileKind.SAFETENSORS:
        return config_beside(path)
    _require_no_adapter(path)
    return read_config_json(path)


def _require_no_adapter(path: Path) -> None:
    """Raise InvalidFile for an adapter_config.json, or a directory that has one and no config.json."""
    folder = is_directory(path) and exists(path / ADAPTER_CONFIG) and not exists(path / "config.json")
    if folder or path.name == ADAPTER_CONFIG:
        raise InvalidFile(
            f"model: {str(path)!r} is an adapter; accepted: its base model, with --lora-rank for its "
            "training (sizer inspect shows its rank, targets and weights)"
        )


def config_beside(path: Path) -> Architecture:
    """Read the architecture from the config.json in a .safetensors file's directory."""
    return architecture_from_config(object_beside(path), path.resolve().parent.name)


def object_beside(path: Path) -> Mapping[str, Any]:
    """Read the keys of the config.json in a .safetensors file's directory."""
    config = path.parent / "config.json"
    if not exists(config):
        raise InvalidFile(
            f"model: {str(path)!r} holds no architecture and there is no config.json in its directory; "
            "accepted: a .safetensors file with its config.json in the same directory"
        )
    return read_object(config)
