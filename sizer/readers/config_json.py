"""config.json of a Hugging Face model: read as plain JSON, no code of the model ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import InvalidFile
from sizer.hf_config import architecture_from_config
from sizer.readers.regular_file import is_directory, open_regular

# The largest known config.json files (long label maps) are well under this.
MAX_CONFIG_BYTES = 4 * 2**20
ACCEPTED = "a Hugging Face config.json or a directory that holds one"


def read_config_json(path: Path, name: str | None = None) -> Architecture:
    """Architecture from a config.json file or the one in a directory; InvalidFile says what is wrong."""
    if is_directory(path):
        return architecture_from_config(_read_object(path / "config.json"), name or path.resolve().name)
    return architecture_from_config(_read_object(path), name or path.stem)


def _read_object(file: Path) -> Mapping[str, Any]:
    with open_regular(file, ACCEPTED) as (stream, _):
        text = stream.read(MAX_CONFIG_BYTES + 1)
    return parse_config(text, str(file))


def parse_config(text: bytes, origin: str) -> Mapping[str, Any]:
    """The JSON object in the text of a config.json; `origin` is what an error calls it."""
    if len(text) > MAX_CONFIG_BYTES:
        raise InvalidFile(f"model: {origin!r} is larger than {MAX_CONFIG_BYTES} bytes; accepted: {ACCEPTED}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidFile(f"model: {origin!r} is not JSON; accepted: {ACCEPTED}") from None
    if not isinstance(value, dict):
        raise InvalidFile(f"model: {origin!r} is not a JSON object; accepted: {ACCEPTED}")
    return value
