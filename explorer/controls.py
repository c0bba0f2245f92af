"""The pages' controls: what each one holds at first, and how its value travels in the page's address."""

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


class Choices(NamedTuple):
    """Several of some texts, in an order: its key, label, first value and what there is to choose from.

    Where `free` is true other texts are taken as well.
    """

    key: str
    label: str
    first: tuple[str, ...]
    options: tuple[str, ...]
    help: str = ""
    free: bool = False


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


Control = Number | Choice | Choices | Flag | Text

# Between several values in an address: no name of a model, device or format has it.
_COMMA = ","


def take_address(controls: Sequence[Control], prefix: str) -> None:
    """Give every control of a page its value: the address's where it came with a link, else this session's.

    The controls' keys begin with the page's prefix, as other pages have a device too; in the address they
    stand without. An address is a link's unless this page wrote it.
    """
    query, state = st.query_params.to_dict(), st.session_state
    linked = bool(query) and query != state.get(f"{prefix}address")
    for control in controls:
        if linked or control.key not in state:
            value = from_text(control, query.get(control.key.removeprefix(prefix)))
            state[control.key] = list(value) if isinstance(value, tuple) else value


def write_address(controls: Sequence[Control], prefix: str) -> None:
    """Put what differs from its first value into the page's address, so that a link shows the same page."""
    state = st.session_state
    query = {
        control.key.removeprefix(prefix): text
        for control in controls
        if (text := to_text(state[control.key])) != to_text(control.first)
    }
    state[f"{prefix}address"] = query
    st.query_params.from_dict(query)


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


def choices(control: Choices, *, among: Sequence[str] = (), **options: Any) -> tuple[str, ...]:
    """Draw a choice of several, of some of its options only where these are given; returns those chosen."""
    key = control.key
    chosen: list[str] = st.multiselect(
        control.label,
        # what was typed, or came with a link, is an option as well
        list(dict.fromkeys((*(among or control.options), *(st.session_state[key] if control.free else ())))),
        key=key,
        help=control.help or None,
        accept_new_options=control.free,
        persist_state="session",
        **options,
    )
    return tuple(chosen)


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


def from_text(control: Control, given: str | None) -> int | str | bool | tuple[str, ...]:
    """A control's value from the page's address; anything it could not hold becomes its first value."""
    if given is None:
        return control.first
    match control:
        case Number():
            value = int(given) if given.isascii() and given.isdigit() else control.first
            return value if control.low <= value <= control.high else control.first
        case Choice():
            return given if given in control.options else control.first
        case Choices():
            several = tuple(dict.fromkeys(part for part in given.split(_COMMA) if part))
            known = control.free or all(part in control.options for part in several)
            return several if known else control.first
        case Flag():
            return {"True": True, "False": False}.get(given, control.first)
        case Text():
            return given


def to_text(value: object) -> str:
    """A control's value as it stands in an address."""
    return _COMMA.join(value) if isinstance(value, list | tuple) else str(value)
