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
_COLUMNS = 4
# Fields of the space in the order of the form, ends of a range side by side; names other than the field's.
_SPACE = (
    *("min_executed_layers", "max_executed_layers", "min_hidden_size", "max_hidden_size"),
    *("min_ffn_ratio", "max_ffn_ratio", "ffn_growths", "head_dims"),
    *("query_heads_per_kv_head", "tie_embeddings", "vocab_size", "formats"),
    *("allow_fallback", "cache_types", "sharing", "sharing_repeats"),
    *("sharing_ends", "windows", "full_every", "min_size_fraction"),
)
_NAMES = {
    "min_executed_layers": "Min layers",
    "max_executed_layers": "Max layers",
    "ffn_growths": "FFN size, last layer over first",
    "head_dims": "Head sizes",
    "tie_embeddings": "Embedding tied to the head",
    "sharing": "Block sharing",
    "sharing_repeats": "Block repeats",
    "sharing_ends": "Unshared blocks at each end",
    "windows": "Sliding windows (positions)",
    "full_every": "Full attention every N layers",
    "min_size_fraction": "Smallest share of the size",
    "allow_fallback": "Rows that the format cannot pack",
}


def space_controls(others: frozenset[str]) -> tuple[Text, ...]:
    """Return a text control for every field of a search but `others`, which have controls already."""
    return tuple(
        Text(f"{KEYS}{name}", _label(name), "", f"{accepted(one).help}.")
        for name, one in FIELDS.items()
        if name not in others
    )


def _label(name: str) -> str:
    """Return a field's name as a person reads it.

    >>> _label("head_dims")
    'Head sizes'
    >>> _label("min_ffn_ratio"), _label("vocab_size"), _label("kv_ratios")
    ('Min FFN ratio', 'Vocabulary size', 'KV ratios')
    """
    if name in _NAMES:
        return _NAMES[name]
    words = name.replace("vocab_", "vocabulary_").split("_")
    text = " ".join(word.upper() if word in _ABBREVIATIONS else word for word in words)
    return text[0].upper() + text[1:]


def draw_space(controls: tuple[Text, ...], shown: SearchConfig) -> None:
    """Draw the controls by table, each with the value that counts while nothing is typed."""
    by_name = {control.key.removeprefix(KEYS): control for control in controls}
    values = shown.to_dict()
    for table, names in TABLES.items():
        kept = sorted((name for name in names if name in by_name), key=_place)
        if not kept:
            continue
        with st.expander(_HEADS[table]):
            # by rows: below one another on a phone they stay in their order
            for first in range(0, len(kept), _COLUMNS):
                columns = st.columns(_COLUMNS, vertical_alignment="bottom")
                for column, name in zip(columns, kept[first : first + _COLUMNS], strict=False):
                    with column:
                        text(by_name[name], placeholder=value_text(values[name]) or "the usual one")


def _place(name: str) -> int:
    return _SPACE.index(name) if name in _SPACE else len(_SPACE)


def space_text(config: SearchConfig) -> str:
    """Return the space of models in a line.

    >>> space_text(SearchConfig())
    '2 to 24 layers, hidden size 32 to 1,024, vocabulary 256, 9 formats, with and without block sharing'
    """
    s = config.space
    shared = any(way != "none" for way in s.sharing)
    return ", ".join(
        (
            f"{_range(s.min_executed_layers, s.max_executed_layers)} layers",
            f"hidden size {_range(s.min_hidden_size, s.max_hidden_size)}",
            f"vocabulary {' or '.join(f'{size:,}' for size in s.vocab_size)}",
            s.formats[0] if len(s.formats) == 1 else f"{len(s.formats)} formats",
            f"{'with and without' if shared and 'none' in s.sharing else 'with' if shared else 'without'} "
            "block sharing",
        )
    )


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


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
