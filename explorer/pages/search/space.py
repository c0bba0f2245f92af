"""The fields of a search that its form has no other control for, generated from their declarations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import streamlit as st

from explorer.state import Text
from explorer.widgets.controls import text
from search.config.config import FIELDS, TABLES, SearchConfig
from search.config.fields import accepted
from sizer.errors import InvalidQuantity

KEYS = "search_"
_HEADS = {"budget": "Deployment", "space": "Space of models", "training": "Training"}
_ABBREVIATIONS = frozenset(("ffn", "kv", "ttft"))
_COLUMNS = 3


def space_controls(others: frozenset[str]) -> tuple[Text, ...]:
    """Return a text control for every field of a search but `others`, which have controls already."""
    return tuple(
        Text(f"{KEYS}{name}", _label(name), "", f"{accepted(one).help}.")
        for name, one in FIELDS.items()
        if name not in others
    )


def _label(name: str) -> str:
    """Return a field's name as a person reads it.

    >>> _label("min_ffn_ratio"), _label("vocab_size"), _label("kv_ratios")
    ('Min FFN ratio', 'Vocabulary size', 'KV ratios')
    """
    words = name.replace("vocab_", "vocabulary_").split("_")
    text = " ".join(word.upper() if word in _ABBREVIATIONS else word for word in words)
    return text[0].upper() + text[1:]


def draw_space(controls: tuple[Text, ...], shown: SearchConfig) -> None:
    """Draw the controls by table, each with the value that counts while nothing is typed."""
    by_name = {control.key.removeprefix(KEYS): control for control in controls}
    values = shown.to_dict()
    for table, names in TABLES.items():
        kept = [name for name in names if name in by_name]
        if not kept:
            continue
        with st.expander(_HEADS[table], expanded=table == "space"):
            columns = st.columns(_COLUMNS)
            for place, name in enumerate(kept):
                with columns[place % _COLUMNS]:
                    text(by_name[name], placeholder=value_text(values[name]))


def value_text(value: Any) -> str:
    """Return a field's value as it is typed.

    >>> value_text([True, False]), value_text(["Q4_0", "Q8_0"]), value_text(None)
    ('yes, no', 'Q4_0, Q8_0', 'none')
    """
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def typed_value(name: str, typed: str) -> Any:
    """Return the value of a field as typed: of several, separated by commas; InvalidQuantity names it."""
    kind = str(FIELDS[name].type)
    parts = [part.strip() for part in typed.split(",") if part.strip()]
    if "tuple" in kind:
        return tuple(_scalar(name, kind, part) for part in parts)
    return _scalar(name, kind, typed.strip())


def _scalar(name: str, kind: str, typed: str) -> Any:
    if "bool" in kind:
        known = {"yes": True, "true": True, "no": False, "false": False}
        if typed.lower() not in known:
            raise InvalidQuantity(f"{name}: must be yes or no, got {typed[:40]!r}")
        return known[typed.lower()]
    if "int" not in kind and "float" not in kind:
        return typed
    try:
        return int(typed) if "float" not in kind else float(typed)
    except ValueError:
        raise InvalidQuantity(f"{name}: must be a number, got {typed[:40]!r}") from None


def toml_text(values: Mapping[str, Any]) -> str:
    """Return fields as the TOML file of `sizer search run --config`, each in its table."""
    lines: list[str] = []
    for table, names in TABLES.items():
        given = [name for name in names if name in values]
        lines += [f"[{table}]"] * bool(given)
        lines += [f"{name} = {_toml(values[name])}" for name in given]
    return "\n".join([*lines, ""]) if lines else ""


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)
