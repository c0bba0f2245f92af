"""State of the pages: controls declared once, their values in the session and in the page's address."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import streamlit as st

from reports.text.wording import escape_markdown

N = TypeVar("N", int, float)
Values = Mapping[str, Any]  # values of a page's controls by key

# Separates several values in an address: no name of a model, device or format contains it.
_COMMA = ","
# Session key: prefix of the page that was drawn last.
_SHOWN = "page_shown"
# Session key: texts of values that differ from a page's first ones, by the name that pages share for them.
_SAID = "said"
# Parameters that mean the same on every page; `format` of one page is the first of `formats` of another.
_SHARED = {
    **{name: name for name in ("device", "ram", "backend", "engine", "context")},
    **{name: name for name in ("max_size", "max_memory", "min_decode")},
    **{"format": "formats", "formats": "formats"},
}
# What the command line calls a parameter of an address.
_ALIASES = {"runtime": "engine"}


class Number(NamedTuple, Generic[N]):
    """Control of a number: its session key, label, first value, limits and step."""

    key: str
    label: str
    first: N
    low: N
    high: N
    step: N
    help: str = ""


class Choice(NamedTuple):
    """Control of one text out of several."""

    key: str
    label: str
    first: str
    options: tuple[str, ...]
    help: str = ""


class Choices(NamedTuple):
    """Control of several texts in an order; `free` accepts texts that are no options.

    `repeated` writes one parameter for each text instead of one with commas: texts may contain commas.
    """

    key: str
    label: str
    first: tuple[str, ...]
    options: tuple[str, ...]
    help: str = ""
    free: bool = False
    repeated: bool = False


class Flag(NamedTuple):
    """Control of a yes or no."""

    key: str
    label: str
    first: bool
    help: str = ""


class Text(NamedTuple):
    """Control of a typed text."""

    key: str
    label: str
    first: str
    help: str = ""


Control = Number[int] | Number[float] | Choice | Choices | Flag | Text


def _nothing(values: Values) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageState:
    """Controls of one page and the rules between their values.

    `prefix` starts the session keys of the page's controls, as other pages have a device too; parameters of
    an address are the keys without it. A device, runtime, format, context or limit that was chosen on one
    page is taken over by the next that the person goes to.
    """

    prefix: str
    controls: tuple[Control, ...]
    # First values that follow from other values, such as those of a preset.
    firsts: Callable[[Values], Values] = _nothing
    # Values that replace others, such as a format that the runtime lacks.
    corrections: Callable[[Values], Values] = _nothing
    # Keys of controls without effect at these values: the address leaves them out.
    unused: Callable[[Values], Collection[str]] = _nothing

    def load(self) -> bool:
        """Give every control a value: the address's after a link, else the session's, else its first value.

        An address counts as a link if another page, or none, was drawn before. Returns whether the page was
        not drawn just before.
        """
        state, query = st.session_state, st.query_params
        arrived = state.get(_SHOWN) != self.prefix
        linked = bool(len(query)) and arrived
        state[_SHOWN] = self.prefix
        is_new = any(control.key not in state for control in self.controls)
        if linked:
            self._show_ignored(query)
            self._keep_for_others(query)
        if linked or is_new:
            given = self.from_address({name: query.get_all(name) for name in query})
            for key, value in given.items():
                if linked or key not in state:
                    state[key] = list(value) if isinstance(value, tuple) else value
        if arrived:
            self._take_over(query)
        state.update(self.corrections(self.values()))
        return arrived or is_new

    def _show_ignored(self, query: Mapping[str, str]) -> None:
        """Draw what the address asks for and the page does not have."""
        ignored = self.ignored({name: query[name] for name in query})
        if ignored:
            st.warning(escape_markdown(f"Not understood in the address, and left out: {', '.join(ignored)}."))

    def _keep_for_others(self, query: Mapping[str, str]) -> None:
        """Note what an address holds for other pages: a link opened in a new tab has no session before it."""
        own = {self._parameter(control) for control in self.controls}
        given = {_SHARED[name]: query[name] for name in query if name in _SHARED and name not in own}
        if given:
            st.session_state[_SAID] = st.session_state.get(_SAID, {}) | given

    def ignored(self, query: Mapping[str, str]) -> tuple[str, ...]:
        """Return the parameters of an address that are no control's, or whose value the control refuses.

        Parameters that pages share are never refused: links carry them to every page.
        """
        by_name = {self._parameter(control): control for control in self.controls}
        found = []
        for name, given in query.items():
            control = by_name.get(_ALIASES.get(name, name))
            if name not in _SHARED if control is None else not _accepts(control, given.strip()):
                found.append(f"{name[:40]}={given[:60]}")
        return tuple(found)

    def _take_over(self, query: Collection[str]) -> None:
        """Give controls the values that were chosen on other pages, where the address has none."""
        said = st.session_state.get(_SAID, {})
        for control, name in self._shared():
            if name not in said or self._parameter(control) in query:
                continue
            text: str = said[name].partition(_COMMA)[0] if isinstance(control, Choice) else said[name]
            if to_text(value := from_text(control, text)) == text:  # a value that this page accepts
                st.session_state[control.key] = list(value) if isinstance(value, tuple) else value

    def _note(self, values: Values) -> None:
        """Note the values that a person chose here, for the next page."""
        said, firsts = dict(st.session_state.get(_SAID, {})), self.firsts(values)
        for control, name in self._shared():
            text = to_text(values[control.key])
            is_first = text == to_text(firsts.get(control.key, control.first))
            if isinstance(control, Choice) and said.get(name, "").partition(_COMMA)[0] == text:
                continue  # the first of several
            if name in said or not is_first:
                said[name] = text
        st.session_state[_SAID] = said

    def _shared(self) -> list[tuple[Control, str]]:
        pairs = ((control, _SHARED.get(self._parameter(control))) for control in self.controls)
        return [(control, name) for control, name in pairs if name is not None]

    def values(self) -> dict[str, Any]:
        """Return the session's value of every control."""
        return {control.key: st.session_state[control.key] for control in self.controls}

    def save(self, **changed: Any) -> None:
        """Write the values to the page's address, so that a link opens the same page."""
        self._note(self.values() | changed)
        st.query_params.from_dict(self.to_address(self.values() | changed))

    def from_address(self, query: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
        """Return a value for every control; a first value where the address has none that it accepts."""
        query = {_ALIASES.get(name, name): given for name, given in query.items()}
        values: dict[str, Any] = {c.key: from_text(c, query.get(self._parameter(c))) for c in self.controls}
        values |= self.corrections(values)
        firsts = self.firsts(values)
        for control in self.controls:
            if control.key in firsts:
                first: Any = control._replace(first=firsts[control.key])
                values[control.key] = from_text(first, query.get(self._parameter(control)))
        return values

    def to_address(self, values: Values) -> dict[str, str | list[str]]:
        """Return the parameters of the values that differ from the first ones."""
        firsts, unused = self.firsts(values), self.unused(values)
        return {
            self._parameter(control): _parameter_text(control, values[control.key])
            for control in self.controls
            if control.key not in unused
            and to_text(values[control.key]) != to_text(firsts.get(control.key, control.first))
        }

    def _parameter(self, control: Control) -> str:
        return control.key.removeprefix(self.prefix)


def said(name: str) -> str:
    """Return the text of what was chosen on any page under a shared name, such as "device"; else empty."""
    text: str = st.session_state.get(_SAID, {}).get(name, "")
    return text


def from_text(control: Control, given: str | Sequence[str] | None) -> Any:
    """Return a control's value from an address; its first value if the text is none that it accepts."""
    texts = [given] if isinstance(given, str) else list(given or ())
    if not texts:
        return control.first
    text = texts[-1]
    match control:
        case Number():
            number = _number(text, type(control.first))
            return control.first if number is None or not control.low <= number <= control.high else number
        case Choice():
            return text if text in control.options else control.first
        case Choices():
            several = dict.fromkeys(
                part for part in (texts if control.repeated else text.split(_COMMA)) if part
            )
            known = control.free or all(part in control.options for part in several)
            return tuple(several) if known else control.first
        case Flag():
            return {"True": True, "False": False}.get(text, control.first)
        case Text():
            return text


def _accepts(control: Control, text: str) -> bool:
    """Return True if an address's text is a value of the control."""
    if isinstance(control, Number):
        number = _number(text, type(control.first))
        return number is not None and control.low <= number <= control.high
    return isinstance(control, Text) or to_text(from_text(control, text)) == text


def to_text(value: object) -> str:
    """Return a control's value as it is written in an address."""
    return _COMMA.join(value) if isinstance(value, list | tuple) else str(value)


def _parameter_text(control: Control, value: Any) -> str | list[str]:
    return list(value) if isinstance(control, Choices) and control.repeated else to_text(value)


def _number(text: str, kind: type[int] | type[float]) -> int | float | None:
    if kind is int:
        return int(text) if text.isascii() and text.isdigit() else None
    try:
        return float(text)
    except ValueError:
        return None
