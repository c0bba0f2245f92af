"""Controls as Streamlit's widgets: each keeps its value in the session while other pages are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from explorer.state import Choice, Choices, Control, Flag, N, Number, Text


def _options(control: Control, given: dict[str, Any]) -> dict[str, Any]:
    return {"key": control.key, "help": control.help or None, "persist_state": "session", **given}


def _limits(control: Number[N], given: dict[str, Any]) -> dict[str, Any]:
    limits = {"min_value": control.low, "max_value": control.high, "step": control.step}
    return _options(control, {**limits, **given})


def slider(control: Number[N], **options: Any) -> N:
    """Draw a number as a slider; return its value."""
    value: N = st.slider(control.label, **_limits(control, options))
    return value


def number(control: Number[N], **options: Any) -> N:
    """Draw a number as a field to type in; return its value."""
    value: N = st.number_input(control.label, **_limits(control, options))
    return value


def choice(control: Choice, *, among: Sequence[str] = (), **options: Any) -> str:
    """Draw a choice as a menu, of some of its options if they are given; return the chosen one."""
    chosen: str = st.selectbox(control.label, among or control.options, **_options(control, options))
    return chosen


def choices(control: Choices, *, among: Sequence[str] = (), **options: Any) -> tuple[str, ...]:
    """Draw a choice of several, of some of its options if they are given; return the chosen ones."""
    # what was typed, or came with a link, is an option as well
    typed = st.session_state[control.key] if control.free else ()
    known = list(dict.fromkeys((*(among or control.options), *typed)))
    chosen: list[str] = st.multiselect(
        control.label, known, accept_new_options=control.free, **_options(control, options)
    )
    return tuple(chosen)


def flag(control: Flag, **options: Any) -> bool:
    """Draw a yes or no as a toggle; return its value."""
    return st.toggle(control.label, **_options(control, options))


def text(control: Text, **options: Any) -> str:
    """Draw a field of text; return what is typed."""
    typed: str = st.text_input(control.label, **_options(control, options))
    return typed
