"""Presets: a budget, a space and a training for one device, to run as they are or to start a file from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from search.space.config import SearchConfig, config_from_dict, flat
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
        """Fields as they stand in the text, without their tables."""
        return flat(tomllib.loads(self.text), f"preset {self.name}")

    @property
    def config(self) -> SearchConfig:
        """The search it describes."""
        return config_from_dict(self.values, f"preset {self.name}")


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name. The first line of each file, a comment, says what it is for."""
    found = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        found[path.stem] = Preset(name=path.stem, about=text.splitlines()[0].removeprefix("# "), text=text)
    return found


def preset(name: str) -> Preset:
    """The preset of that name, ignoring case; an unknown one lists what is known."""
    wanted = name.strip().lower()
    if wanted not in presets():
        raise UnknownName.of("preset", name, presets())
    return presets()[wanted]
