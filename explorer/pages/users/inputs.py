"""Controls of the users page: the model, the devices with their shares, the runtimes."""

from __future__ import annotations

import streamlit as st

from explorer.state import Choice, Choices, Number, PageState, Values
from explorer.widgets import deployment, size_link
from explorer.widgets.controls import choice, choices, number, text
from explorer.widgets.deployment import device_title
from explorer.widgets.device_choice import draw_variants, variants_control, with_variants
from explorer.widgets.model_source import COUNT
from explorer.widgets.size_link import BY_HAND, FROM_CATALOGUE, FROM_COUNT
from sizer.architecture import Architecture
from sizer.audience import IN_APPLICATION, IN_BROWSER, Reach, reach
from sizer.devices.catalogue import device, devices_named, load_devices
from sizer.devices.device import Device

KEYS = "users_"
DEFAULT_SET = "mid-range"

START = size_link.START._replace(key=f"{KEYS}start")
MODEL = size_link.MODEL._replace(key=f"{KEYS}model")
COUNT_OF_MODEL = COUNT._replace(key=f"{KEYS}count")
SHAPE = size_link.SHAPE._replace(key=f"{KEYS}shape")
NAME = size_link.NAME._replace(key=f"{KEYS}name")
BROWSER, APPLICATION = "a browser", "an application"
WHERE = Choice(f"{KEYS}where", "Runs in", BROWSER, (BROWSER, APPLICATION))
DEVICES = Choices(
    f"{KEYS}devices",
    "Devices of the users",
    tuple(one.name for one in devices_named(DEFAULT_SET)),
    tuple(load_devices()),
    "By default ten mid-range phones and laptops.",
)
# percentages by device, such as "pixel-7a:30,galaxy-a15:70"; a device without one has an equal share
SHARES = Choices(f"{KEYS}shares", "Shares", (), (), free=True)
VARIANTS = variants_control(KEYS)
RATE = Number(f"{KEYS}rate", "Fast enough (tok/s)", 10.0, 0.1, 10_000.0, 1.0, "Decode speed that users want.")
LINE = Number(f"{KEYS}line", "Line (Mbit/s)", 50.0, 0.1, 100_000.0, 10.0, "For the first download.")
CONTEXT = deployment.CONTEXT._replace(key=f"{KEYS}context")

STATE = PageState(
    prefix=KEYS,
    controls=(
        *(START, MODEL, COUNT_OF_MODEL, SHAPE, NAME, WHERE),
        *(DEVICES, SHARES, VARIANTS, RATE, LINE, CONTEXT),
    ),
)
_EQUAL = 10.0
_SOURCES = (FROM_CATALOGUE, FROM_COUNT)
_SHARE = f"{KEYS}share_"


def draw_inputs() -> None:
    """Draw the model, what the users have, and their devices."""
    st.subheader("Model", divider="gray")
    by_hand = st.session_state[START.key] == BY_HAND  # a shape that came with a link
    start = choice(START, among=(*_SOURCES, BY_HAND) if by_hand else _SOURCES)
    if start == FROM_CATALOGUE:
        choice(MODEL)
    elif start == FROM_COUNT:
        text(COUNT_OF_MODEL)
    number(CONTEXT)
    st.subheader("Users", divider="gray")
    choice(WHERE)
    left, right = st.columns(2)
    with left:
        number(RATE)
    with right:
        number(LINE)
    chosen = choices(DEVICES, format_func=device_title, max_selections=40)
    draw_variants(VARIANTS, chosen)
    with st.expander("Shares of the devices (%)"):
        _draw_shares(chosen)


def _draw_shares(names: tuple[str, ...]) -> None:
    shares = shares_of(tuple(st.session_state[SHARES.key]))
    typed = {
        name: st.number_input(
            device_title(name), 0.0, 100.0, shares.get(name, _EQUAL), 1.0, key=f"{_SHARE}{name}"
        )
        for name in names
    }
    st.session_state[SHARES.key] = [f"{n}:{share:g}" for n, share in typed.items() if share != _EQUAL]


def shares_of(texts: tuple[str, ...]) -> dict[str, float]:
    """Return shares by device from texts such as "pixel-7a:30"; others are left out."""
    found = {}
    for one in texts:
        name, _, share = one.rpartition(":")
        try:
            value = float(share)
        except ValueError:
            continue
        if name in load_devices() and 0 <= value <= 100:
            found[name] = value
    return found


def users_of(values: Values) -> tuple[tuple[str, float], ...]:
    """Return the users as names of devices, RAM and backend in them, with shares of any sum."""
    shares, names = shares_of(tuple(values[SHARES.key])), tuple(values[DEVICES.key])
    full = with_variants(names, values[VARIANTS.key])
    return tuple((one, shares.get(name, _EQUAL)) for name, one in zip(names, full, strict=True))


def reached(model: Architecture, users: tuple[tuple[str, float], ...], values: Values) -> list[Reach]:
    """Return what each runtime of a browser or an application reaches; SizerError names bad shares."""
    runtimes = IN_BROWSER if values[WHERE.key] == BROWSER else IN_APPLICATION
    return [_reach(model, users, name, values[CONTEXT.key]) for name in runtimes]


@st.cache_resource(max_entries=64, show_spinner=False)
def _reach(
    model: Architecture, users: tuple[tuple[str, float], ...], runtime_name: str, context: int
) -> Reach:
    known: list[tuple[Device, float]] = [(device(name), share) for name, share in users]
    return reach(model, known, runtime=runtime_name, context_tokens=context)
