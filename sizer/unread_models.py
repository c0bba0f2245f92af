"""Models by name whose family has no reader here: their configs, which an installed transformers counts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sizer.model_names import keys, spellings

_LIST = Path(__file__).parent / "data" / "unread_models.toml"
_ABOUT = ("names", "note", "parameters", "source")


class UnreadModel(NamedTuple):
    """A model's name, config keys, parameter count and source; `note` says what kind of model it is."""

    name: str
    config: Mapping[str, Any]
    parameters: int
    source: str
    note: str = ""


@cache
def unread_models() -> Mapping[str, UnreadModel]:
    """Return the models of the list by each form of their names."""
    import tomllib

    rows = tomllib.loads(_LIST.read_text(encoding="utf-8"))["model"]
    return {key: _unread(row) for row in rows for name in row["names"] for key in keys(name)}


def unread_model(name: str) -> UnreadModel | None:
    """Return the model of the list that a typed name means, None if none does."""
    known = unread_models()
    typed = (key for spelled in spellings(name) for key in keys(spelled))
    return next((known[key] for key in typed if key in known), None)


def _unread(row: Mapping[str, Any]) -> UnreadModel:
    config = {key: value for key, value in row.items() if key not in _ABOUT}
    return UnreadModel(row["names"][0], config, row["parameters"], row["source"], row.get("note", ""))
