"""Where an architecture comes from outside: catalogue names and files on disk."""

from __future__ import annotations

from pathlib import Path

from sizer.architecture import Architecture
from sizer.errors import UnknownName
from sizer.readers.config_json import read_config_json
from sizer.registry import model, models


def read_model(text: str) -> Architecture:
    """Architecture of a catalogue name, a config.json, or a directory that holds one."""
    path = Path(text)
    if path.exists() or path.suffix == ".json":
        return read_config_json(path)
    try:
        return model(text).architecture
    except UnknownName:
        kind = "model (nor is it a config.json or a directory with one)"
        raise UnknownName.of(kind, text, models()) from None
