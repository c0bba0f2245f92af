"""config.json of a Hugging Face model: read as plain JSON, no code of the model ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import InvalidFile
from sizer.families.hf_config import ModelReading, read_config
from sizer.readers.quantization_keys import KEYS as QUANTIZATION_KEYS
from sizer.readers.regular_file import is_directory, open_regular

# The largest known config.json files (long label maps) are well under this.
MAX_CONFIG_BYTES = 4 * 2**20
ACCEPTED = "a Hugging Face config.json or a directory that holds one"


def read_config_json(path: Path, name: str | None = None) -> Architecture:
    """Read the architecture from a config.json file or a directory that has one; raise InvalidFile if bad."""
    return read_described_config(path, name).architecture


def read_described_config(path: Path, name: str | None = None) -> ModelReading:
    """Read a config.json file or a directory that has one, and what was assumed about it."""
    config = read_config_object(path)
    return describe_config(config, name or (path.resolve().name if is_directory(path) else path.stem))


def describe_config(config: Mapping[str, Any], name: str = "config") -> ModelReading:
    """Read the keys of a config.json, what was assumed about them, and how its weights are stored."""
    reading = read_config(config, name)
    if not may_be_quantized(config):
        return reading
    from sizer.readers.stored_format import stored_format

    return reading._replace(stored=stored_format(config))


def may_be_quantized(config: Mapping[str, Any]) -> bool:
    """Return False for a config that has no block about quantization, at its top or one level below."""
    inner = (value for value in config.values() if isinstance(value, Mapping))
    return any(block.get(key) for block in (config, *inner) for key in QUANTIZATION_KEYS)


def read_config_object(path: Path) -> Mapping[str, Any]:
    """Read the keys of a config.json file, or of the one in a directory; raise InvalidFile if it is bad."""
    return read_object(path / "config.json" if is_directory(path) else path)


def read_object(file: Path) -> Mapping[str, Any]:
    """Read the JSON object in a file, such as a config.json; InvalidFile if it is none."""
    with open_regular(file, ACCEPTED) as (stream, _):
        text = stream.read(MAX_CONFIG_BYTES + 1)
    return parse_config(text, str(file))


def parse_config(text: bytes, origin: str) -> Mapping[str, Any]:
    """Parse the text of a config.json into a mapping; `origin` is its name in errors."""
    if len(text) > MAX_CONFIG_BYTES:
        raise InvalidFile(f"model: {origin!r} is larger than {MAX_CONFIG_BYTES} bytes; accepted: {ACCEPTED}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidFile(f"model: {origin!r} is not JSON; accepted: {ACCEPTED}") from None
    if not isinstance(value, dict):
        raise InvalidFile(f"model: {origin!r} is not a JSON object; accepted: {ACCEPTED}")
    return value
