"""The choice of a device with its RAM and of what engines run on: the one place of it for every page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import streamlit as st

from explorer.state import Choice, Control, Values
from explorer.widgets.controls import choice
from explorer.widgets.deployment import DEVICE, NO_DEVICE, device_title
from sizer.devices.catalogue import device_name, load_devices, name_parts
from sizer.devices.profile import BACKEND_KINDS, kind_of

# RAM and backend as the catalogue and the runtime have them.
_USUAL = ""
_SIZES = sorted({gib for known in load_devices().values() for gib in known.known_gib})
RAM = Choice(
    "ram",
    "RAM",
    _USUAL,
    (_USUAL, *(f"{gib:g}GB" for gib in _SIZES)),
    "Sizes that the device is sold with.",
)
BACKEND = Choice(
    "backend", "Runs on", _USUAL, (_USUAL, *BACKEND_KINDS), "CPU, GPU or NPU; usual: the runtime's choice."
)


class ChosenDevice(NamedTuple):
    """Controls of one device on a page."""

    device: Choice = DEVICE
    ram: Choice = RAM
    backend: Choice = BACKEND

    @property
    def controls(self) -> tuple[Control, ...]:
        """Return them in the order in which a page draws them."""
        return (self.device, self.ram, self.backend)

    def corrections(self, values: Values) -> dict[str, str]:
        """Return RAM and backend, replaced by the usual ones where the device has others."""
        name, ram, backend = (values[control.key] for control in self)
        return {
            self.ram.key: ram if ram in ram_sizes(name) else _USUAL,
            self.backend.key: backend if backend in backends(name) else _USUAL,
        }

    def draw(self) -> None:
        """Draw the menus; a device with one RAM, or with a CPU alone, has nothing to choose there."""
        name = choice(self.device, format_func=device_title, on_change=self._fit)
        left, right = st.columns(2)
        with left:
            sizes = ram_sizes(name)
            choice(self.ram, among=sizes, format_func=_usual_text, disabled=len(sizes) < 2)
        with right:
            kinds = backends(name)
            choice(self.backend, among=kinds, format_func=_usual_text, disabled=len(kinds) < 2)

    def _fit(self) -> None:
        """Set RAM and backend to the usual ones where the newly chosen device lacks them."""
        state = st.session_state
        state.update(self.corrections({control.key: state[control.key] for control in self}))

    def parts(self, values: Values) -> tuple[str | None, str | None, str | None]:
        """Return the device, RAM and backend that are asked for, each None where it is not."""
        name, ram, backend = (values[control.key] for control in self)
        return (None, None, None) if name == NO_DEVICE else (name, ram or None, backend or None)

    def name(self, values: Values) -> str | None:
        """Return the one name of the chosen device, such as pixel-8a-8gb@gpu; None without a device."""
        name, ram, backend = self.parts(values)
        return device_name(name, ram, backend)


def device_choice(prefix: str) -> ChosenDevice:
    """Return the controls with a page's prefix."""
    return ChosenDevice(*(control._replace(key=f"{prefix}{control.key}") for control in ChosenDevice()))


def device_query(name: str | None) -> dict[str, str]:
    """Return the parameters of an address for a device's name, RAM and backend apart; none without one."""
    if name is None:
        return {}
    base, ram, backend = name_parts(name)
    given: Mapping[str, Any] = {RAM.key: ram, BACKEND.key: backend}
    return {DEVICE.key: base} | {key: text for key, text in given.items() if text}


def ram_sizes(name: str) -> tuple[str, ...]:
    """Return the sizes of RAM that a device can be asked for with, the usual first."""
    known = load_devices().get(name)
    return (_USUAL, *(f"{gib:g}GB" for gib in known.known_gib)) if known is not None else (_USUAL,)


def backends(name: str) -> tuple[str, ...]:
    """Return the kinds of backend that a device can be asked for with, the usual first."""
    known = load_devices().get(name)
    kinds = tuple(dict.fromkeys(map(kind_of, known.backends))) if known is not None else ()
    return (_USUAL, *kinds) if len(kinds) > 1 else (_USUAL,)


def _usual_text(text: str) -> str:
    return (text.upper() if text in BACKEND_KINDS else text.replace("GB", " GB")) or "usual"
