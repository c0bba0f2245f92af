"""The choice of a device with its RAM and of what engines run on: the one place of it for every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import streamlit as st

from explorer.state import Choice, Choices, Control, Values
from explorer.widgets.controls import choice
from explorer.widgets.deployment import DEVICE, NO_DEVICE, device_title
from sizer.devices.catalogue import device, device_name, load_devices, name_parts
from sizer.devices.profile import BACKEND_KINDS, kind_of
from sizer.errors import SizerError

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


def variants_control(prefix: str) -> Choices:
    """Return a page's control of the devices of several that are not the usual ones, by their one names."""
    return Choices(f"{prefix}variants", "RAM and backend", (), (), free=True)


def draw_variants(control: Choices, names: Sequence[str]) -> None:
    """Draw the RAM and backend of each of several devices; nothing where none has a choice."""
    several = [name for name in names if len(ram_sizes(name)) > 2 or len(backends(name)) > 2]
    if not several:
        return
    before, found = _variants(st.session_state[control.key]), []
    with st.expander("RAM and backend of the devices"):
        for name in several:
            now = name_parts(before.get(name, name))
            ram, backend = (
                st.selectbox(
                    f"{label} of {device_title(name)}",
                    options,
                    options.index(chosen) if chosen in options else 0,
                    key=f"{control.key}_{label}_{name}",
                    format_func=_usual_text,
                    disabled=len(options) < 2,
                )
                for label, options, chosen in (
                    (RAM.label, ram_sizes(name), now[1] or _USUAL),
                    (BACKEND.label, backends(name), now[2] or _USUAL),
                )
            )
            full = device_name(name, ram or None, backend or None)
            found += [full] if full != name else []
    st.session_state[control.key] = found


def with_variants(names: Sequence[str], variants: Sequence[str]) -> tuple[str, ...]:
    """Return the names of several devices, in their order, with the RAM and backend that are asked for.

    >>> with_variants(["pixel-8a", "galaxy-s24"], ["galaxy-s24-12gb@gpu", "no-such-device"])
    ('pixel-8a', 'galaxy-s24-12gb@gpu')
    """
    known = _variants(variants)
    return tuple(known.get(name, name) for name in names)


def _variants(names: Sequence[str]) -> dict[str, str]:
    """Return full names by device; names of an address that no device has are left out."""
    found = {}
    for name in names:
        with suppress(SizerError):
            found[name_parts(name)[0]] = device(name).name
    return found


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
