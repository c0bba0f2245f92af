"""Presets: budget, space and training for one device, to run directly or to copy into a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from search.config.config import SearchConfig
from search.config.reading import config_from_dict, flat
from sizer.errors import UnknownName

_FOLDER = Path(__file__).parents[1] / "data" / "presets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A search for one device: its name, a line about it, and its TOML text."""

    name: str
    about: str
    text: str

    @property
    def values(self) -> dict[str, Any]:
        """Fields of the TOML text, without their tables."""
        return flat(tomllib.loads(self.text), f"preset {self.name}")

    @property
    def config(self) -> SearchConfig:
        """The search that the text describes."""
        return config_from_dict(self.values, f"preset {self.name}")


@cache
def presets() -> Mapping[str, Preset]:
    """Return all presets by name; the first line of each file, a comment, is its description."""
    found = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        found[path.stem] = Preset(name=path.stem, about=text.splitlines()[0].removeprefix("# "), text=text)
    return found


def preset(name: str) -> Preset:
    """Return a preset by name, ignoring case; the error for an unknown one lists those there are."""
    wanted = name.strip().lower()
    if wanted not in presets():
        raise UnknownName.of("preset", name, presets())
    return presets()[wanted]
