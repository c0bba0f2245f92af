"""Models by name: the catalogue data/architectures.toml, every row with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import UnknownName
from sizer.hf_config import architecture_from_config

_CATALOGUE = Path(__file__).parent / "data" / "architectures.toml"

_ABOUT = ("name", "params_published", "params_source", "source")  # every other key is the model's config


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueModel:
    """A known model: its config keys and architecture, published parameter count if there is one, sources."""

    architecture: Architecture
    config: Mapping[str, Any]
    params_published: int | None
    params_source: str | None
    source: str


@cache
def models() -> Mapping[str, CatalogueModel]:
    """All catalogue models by name."""
    rows = tomllib.loads(_CATALOGUE.read_text(encoding="utf-8"))["model"]
    return {
        row["name"]: CatalogueModel(
            architecture=architecture_from_config(row, row["name"]),
            config={key: value for key, value in row.items() if key not in _ABOUT},
            params_published=row.get("params_published"),
            params_source=row.get("params_source"),
            source=row["source"],
        )
        for row in rows
    }


def model(name: str) -> CatalogueModel:
    """The catalogue model of that name, ignoring case and an "org/" before it."""
    wanted = name.strip().lower().rsplit("/", 1)[-1]
    for known, row in models().items():
        if known.lower() == wanted:
            return row
    raise UnknownName.of("model", name, models())
