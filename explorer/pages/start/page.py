"""The page "Start": three questions, each one click from its answer."""

from __future__ import annotations

import streamlit as st

from explorer.state import Choice, PageState, Text
from explorer.widgets import deployment
from explorer.widgets.controls import choice, number, text
from explorer.widgets.deployment import NO_DEVICE
from explorer.widgets.device_choice import device_choice, device_query
from explorer.widgets.limits import MAX_SIZE
from explorer.widgets.onward import Way, page_file, show_way
from explorer.widgets.size_link import FROM_CATALOGUE, FROM_COUNT, MODEL, START, is_size_query
from reports.text.wording import escape_markdown
from sizer.errors import SizerError
from sizer.registry import models
from sizer.units import parse_count

KEYS = "start_"
DEVICE = device_choice(KEYS)
CONTEXT = deployment.CONTEXT._replace(key=f"{KEYS}context")
LIMIT = MAX_SIZE._replace(key=f"{KEYS}max_size", first="60MB")
SIZE = Text(f"{KEYS}typed", "Model or number of parameters", MODEL.first, "Such as 350M or SmolLM2-135M.")
GOAL = Choice(f"{KEYS}runtime", "Runs in", "a browser", ("a browser", "an application"))
STATE = PageState(
    prefix=KEYS, controls=(*DEVICE.controls, CONTEXT, LIMIT, SIZE, GOAL), corrections=DEVICE.corrections
)


def page() -> None:
    """Draw the page; an address with a model, as earlier versions had it here, opens the page of sizes."""
    if is_size_query(st.query_params.to_dict()):
        st.switch_page(page_file("size"), query_params=dict(st.query_params))
    STATE.load()
    st.header("Which small model for this device?")
    st.markdown(
        "File, memory, speed and quality of a language model before it is trained, each with its range."
    )
    device, context, _ = st.columns([2, 1, 2])
    with device:
        DEVICE.draw()
    with context:
        number(CONTEXT)
    st.space("small")
    first, second, third = st.columns(3, gap="large")
    with first:
        st.subheader("Size a model", divider="gray")
        st.caption("How big is its file, does it fit, how fast does it answer?")
        text(SIZE)
        _show_size(_deployment())
    with second:
        st.subheader("Find the best for a device", divider="gray")
        st.caption("Which shape and format within a budget should be trained?")
        text(LIMIT)
        limit = st.session_state[LIMIT.key].strip()
        show_way(Way("design", "Show the best shapes", {**_deployment(), "max_size": limit or "60MB"}))
    with third:
        st.subheader("Will it run for my users?", divider="gray")
        name = st.session_state[SIZE.key].strip() if _source() else "a model"
        st.caption(escape_markdown(f"On which share of devices does {name} fit and answer fast enough?"))
        choice(GOAL)
        context_text = {"context": str(st.session_state[CONTEXT.key])}
        where = {"where": st.session_state[GOAL.key]}
        show_way(Way("users", "Show the share of devices", {**context_text, **where, **_source()}))
    STATE.save()


def _deployment() -> dict[str, str]:
    name = DEVICE.name(STATE.values())
    device = device_query(name) if name is not None else {"device": NO_DEVICE}
    return {**device, "context": str(st.session_state[CONTEXT.key])}


def _source() -> dict[str, str]:
    """Return the typed model as parameters of the page of sizes; none if it is neither a name nor a count."""
    typed = st.session_state[SIZE.key].strip()
    by_lower = {name.lower(): name for name in models()}
    if typed.lower() in by_lower:
        return {START.key: FROM_CATALOGUE, MODEL.key: by_lower[typed.lower()]}
    try:
        parse_count(typed, "parameters")
    except SizerError:
        return {}
    return {START.key: FROM_COUNT, "count": typed}


def _show_size(deployment_query: dict[str, str]) -> None:
    source = _source()
    if not source:
        st.warning("Neither a model of the catalogue nor a number of parameters such as 350M.")
    else:
        show_way(Way("size", "Show its size and speed", {**source, **deployment_query}))


page()
