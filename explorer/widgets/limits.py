"""Controls of the limits that pages share, and their values; errors have the words of the page."""

from __future__ import annotations

import streamlit as st

from explorer.state import Text
from explorer.widgets.controls import text
from sizer.budget import Limits
from sizer.errors import InvalidQuantity
from sizer.units import format_bytes, parse_bytes

MAX_SIZE = Text("max_size", "Max file size", "", "Such as 300MB; empty for no limit.")
MAX_MEMORY = Text(
    "max_memory", "Memory limit", "", "Such as 300MB; the device's own limit holds in any case."
)
MIN_DECODE = Text("min_decode", "Min decode speed (tok/s)", "", "At full context, such as 25.")
LIMITS = (MAX_SIZE, MAX_MEMORY, MIN_DECODE)


def draw_limits(*limits: Text) -> None:
    """Draw the fields: file and memory side by side, the speed below."""
    left, right = st.columns(2)
    with left:
        text(limits[0])
    with right:
        text(limits[1])
    text(limits[2])


def limits_of(max_size: str, max_memory: str, min_decode: str, *, has_device: bool) -> Limits:
    """Read limits as typed, empty for none; InvalidQuantity names the one that cannot be read."""
    return Limits(
        max_size_bytes=bytes_typed(max_size, MAX_SIZE.label),
        max_memory_bytes=bytes_typed(max_memory, MAX_MEMORY.label),
        min_decode_tokens_per_s=_rate(min_decode, has_device=has_device),
    )


def bytes_typed(typed: str, label: str) -> int | None:
    """Read a number of bytes with its unit, None for an empty text; a bare number is an error.

    >>> bytes_typed("300MB", "Max file size")
    300000000
    """
    words = typed.strip()
    if not words:
        return None
    if words.replace(".", "", 1).isdecimal():
        raise InvalidQuantity(f"{label}: {words[:40]} of which unit? Accepted: such as {words[:40]}MB")
    return parse_bytes(words, label)


def size_text(value: int | None) -> str:
    """Return bytes as a person would type them, without rounding; empty for None."""
    if value is None:
        return ""
    short = format_bytes(value).replace(" ", "")
    return short if parse_bytes(short) == value else f"{value}B"


def _rate(typed: str, *, has_device: bool) -> float | None:
    words = typed.strip()
    if not words:
        return None
    if not has_device:
        raise InvalidQuantity(f"{MIN_DECODE.label}: choose a device, whose speed is predicted")
    try:
        rate = float(words)
    except ValueError:
        rate = -1.0
    if not 0 < rate < 1e9:
        raise InvalidQuantity(f"{MIN_DECODE.label}: must be a number above 0, such as 30, got {words[:40]!r}")
    return rate
