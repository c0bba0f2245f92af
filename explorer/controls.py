"""The size page's controls: what each one holds at first, and how its value travels in the page's address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import streamlit as st


class Number(NamedTuple):
    """A whole number set with a slider or typed: its key, label, first value, limits and step."""

    key: str
    label: str
    first: int
    low: int
    high: int
    step: int
    help: str = ""


class Choice(NamedTuple):
    """One of several texts: its key, label, first value and what there is to choose from."""

    key: str
    label: str
    first: str
    options: tuple[str, ...]
    help: str = ""


class Flag(NamedTuple):
    """Yes or no: its key, label and first value."""

    key: str
    label: str
    first: bool
    help: str = ""


class Text(NamedTuple):
    """A typed text: its key, label and first value."""

    key: str
    label: str
    first: str
    help: str = ""


Control = Number | Choice | Flag | Text


def restore(controls: Sequence[Control]) -> None:
    """Give every control a value before it is drawn: this session's, the page's address's, or its first."""
    for control in controls:
        if control.key not in st.session_state:
            st.session_state[control.key] = from_text(control, st.query_params.get(control.key))


def share(controls: Sequence[Control]) -> None:
    """Put what differs from its first value into the page's address, so that a link shows the same page."""
    st.query_params.from_dict(
        {
            control.key: str(st.session_state[control.key])
            for control in controls
            if control.key in st.session_state and st.session_state[control.key] != control.first
        }
    )


def slider(control: Number, **options: Any) -> int:
    """Draw a number as a slider; returns its value."""
    value: int = st.slider(
        control.label,
        min_value=control.low,
        max_value=control.high,
        step=control.step,
        key=control.key,
        help=control.help or None,
        persist_state="session",
        **options,
    )
    return value


def number(control: Number) -> int:
    """Draw a number as a field to type in; returns its value."""
    return int(
        st.number_input(
            control.label,
            min_value=control.low,
            max_value=control.high,
            step=control.step,
            key=control.key,
            help=control.help or None,
            persist_state="session",
        )
    )


def choice(control: Choice, *, among: Sequence[str] = (), **options: Any) -> str:
    """Draw a choice as a menu, of some of its options only where these are given; returns what is chosen."""
    chosen: str = st.selectbox(
        control.label,
        among or control.options,
        key=control.key,
        help=control.help or None,
        persist_state="session",
        **options,
    )
    return chosen


def flag(control: Flag, **options: Any) -> bool:
    """Draw a yes or no as a toggle; returns its value."""
    return st.toggle(
        control.label, key=control.key, help=control.help or None, persist_state="session", **options
    )


def text(control: Text, **options: Any) -> str:
    """Draw a field of text; returns what is typed."""
    typed: str = st.text_input(
        control.label, key=control.key, help=control.help or None, persist_state="session", **options
    )
    return typed


def from_text(control: Control, given: str | None) -> int | str | bool:
    """A control's value from the page's address; anything it could not hold becomes its first value."""
    if given is None:
        return control.first
    match control:
        case Number():
            value = int(given) if given.isascii() and given.isdigit() else control.first
            return value if control.low <= value <= control.high else control.first
        case Choice():
            return given if given in control.options else control.first
        case Flag():
            return {"True": True, "False": False}.get(given, control.first)
        case Text():
            return given
