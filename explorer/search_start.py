"""The search page's form: what to search for, what that will take, and the button that begins it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.search_request import NO_PRESET, Form, Request, base_config, request, size_text
from explorer.search_studies import STUDY, VIEW, WATCH, next_name, taken_names
from reports.wording import limit_texts, plain
from search.run.launch import Forecasting, launch
from search.run.plan import rung_steps
from search.space.config import SAMPLERS
from search.space.presets import presets
from sizer.device import load_devices
from sizer.errors import SizerError

if TYPE_CHECKING:
    from search.space.config import SearchConfig

# Query parameters that another page may fill the form with: each one's field.
LINKED = {
    "device": "search_device",
    "max_size": "search_max_size",
    "max_memory": "search_max_memory",
    "min_decode": "search_min_decode",
}
BY_STEPS, BY_TIME = "models and steps", "minutes"
_PRESET, _LENGTH = "search_preset", "search_length"
_FORECAST, _ERROR, _LINK = "search_forecast", "search_error", "search_link"


def start_view(storage: str) -> None:
    """Draw the form."""
    _restore()
    _draw()
    names = taken_names(storage)
    try:
        wanted = request(_form(next_name(names)), Path.cwd())
    except SizerError as error:
        st.error(plain(str(error)))
        return
    _show_request(wanted, names, storage)


def _restore() -> None:
    """First values, from the preset; then what a link that was not seen before says."""
    st.session_state.setdefault(_PRESET, NO_PRESET)
    if "search_trials" not in st.session_state:
        _load_preset()
    if has_new_link():
        link = st.session_state[_LINK] = _link()
        for name, value in link.items():
            if name != "device" or value in load_devices():
                st.session_state[LINKED[name]] = value[:80]


def has_new_link() -> bool:
    """Whether the page's address fills the form with something that it was not filled with before."""
    link = _link()
    return bool(link) and link != st.session_state.get(_LINK)


def _link() -> dict[str, str]:
    return {name: st.query_params[name] for name in LINKED if name in st.query_params}


def _load_preset() -> None:
    """Set the fields to what the preset says."""
    config, state = base_config(st.session_state[_PRESET]), st.session_state
    state["search_device"] = config.device
    state["search_max_size"] = size_text(config.max_size_bytes)
    state["search_max_memory"] = size_text(config.max_memory_bytes)
    rate = config.min_decode_tokens_per_s
    state["search_min_decode"] = "" if rate is None else f"{rate:g}"
    state["search_trials"], state["search_steps"] = config.trials, config.steps
    state["search_sampler"], state["search_workers"] = config.sampler, config.workers
    state["search_seed"] = config.seed


def _keep(**options: Any) -> dict[str, Any]:
    return {"persist_state": "session", **options}


def _draw() -> None:
    left, middle, right = st.columns(3, gap="large")
    with left:
        st.subheader("Budget", divider="gray")
        st.selectbox(
            "Preset",
            (NO_PRESET, *presets()),
            **_keep(key=_PRESET, on_change=_load_preset, help="Sets the fields, the space and the training."),
        )
        devices = load_devices()
        st.selectbox(
            "Device", tuple(devices), **_keep(key="search_device", format_func=lambda n: devices[n].title)
        )
        st.text_input("Largest file", **_keep(key="search_max_size", help="Such as 2MB or 800KB."))
        limit = "Empty: what the preset says, or no limit."
        st.text_input("Most memory", **_keep(key="search_max_memory", help=f"Such as 300MB. {limit}"))
        st.text_input(
            "Least decode speed (tokens/s)", **_keep(key="search_min_decode", help=f"Such as 100. {limit}")
        )
    with middle:
        st.subheader("Training", divider="gray")
        st.selectbox("Length", (BY_STEPS, BY_TIME), **_keep(key=_LENGTH))
        if st.session_state[_LENGTH] == BY_STEPS:
            st.number_input("Models to train", 1, 100_000, step=1, **_keep(key="search_trials"))
            told = "Of the models that go furthest; rungs of a third and a ninth come before, from 1,000 on."
            st.number_input("Steps", 1, 10_000_000, step=100, **_keep(key="search_steps", help=told))
        else:
            told = (
                "As many models as fit into the time, of the preset's steps; fewer steps where that is few."
            )
            st.number_input("Minutes", 0.5, 100_000.0, 30.0, **_keep(key="search_minutes", help=told))
        st.selectbox("Sampler", SAMPLERS, **_keep(key="search_sampler", help="What chooses the next model."))
        told = "Models trained at a time, each on its own cores."
        st.number_input("Workers", 1, 512, step=1, **_keep(key="search_workers", help=told))
        st.number_input("Seed", 0, 2**31 - 1, step=1, **_keep(key="search_seed"))
    with right:
        st.subheader("Study", divider="gray")
        st.text_input(
            "Name", **_keep(key="search_name", placeholder="search-N", help="Empty: the next free.")
        )
        st.text_input(
            "Text to train on",
            **_keep(
                key="search_corpus",
                placeholder="built-in",
                help="A file or directory in the directory that the explorer was started in; :FIELD behind "
                "it names the field of rows. Empty: the sources of this Python's library.",
            ),
        )
        told = "Keep the weights of the last models, in runs/NAME/finalists."
        st.toggle("Keep the finalists' weights", **_keep(key="search_keep", help=told))


def _form(name: str) -> Form:
    state, by_time = st.session_state, st.session_state[_LENGTH] == BY_TIME
    return Form(
        preset=state[_PRESET],
        device=state["search_device"],
        max_size=state["search_max_size"],
        max_memory=state["search_max_memory"],
        min_decode=state["search_min_decode"],
        trials=int(state["search_trials"]),
        steps=int(state["search_steps"]),
        minutes=float(state["search_minutes"]) if by_time else None,
        sampler=state["search_sampler"],
        workers=int(state["search_workers"]),
        seed=int(state["search_seed"]),
        corpus=state["search_corpus"],
        keep_finalists=state["search_keep"],
        study=state["search_name"].strip() or name,
    )


def _show_request(wanted: Request, names: tuple[str, ...], storage: str) -> None:
    state = st.session_state
    st.caption(plain(_summary(wanted.config, by_time=state[_LENGTH] == BY_TIME)))
    command = shlex.join(["sizer", "search", "run", *wanted.options, f"--study={wanted.study}"])
    st.code(command, language="sh", wrap_lines=True)
    taken = wanted.study in names
    if taken:
        st.error(plain(f"study: {wanted.study!r} exists already; give another name, or resume it"))
    buttons = st.container(horizontal=True)
    buttons.button(
        "Forecast",
        key="search_ask",
        help="Times the space's models here: some seconds.",
        on_click=_ask,
        args=(wanted, storage),
    )
    buttons.button(
        "Start the search",
        key="search_begin",
        type="primary",
        disabled=taken,
        on_click=_begin,
        args=(wanted, storage),
    )
    if message := state.pop(_ERROR, None):
        st.error(plain(message))
    options, made = state.get(_FORECAST, (None, None))
    if options == wanted.options:
        st.fragment(_show_forecast, run_every=None if made.is_done else 1.0)(made, made.is_done)


def _show_forecast(made: Forecasting, was_done: bool) -> None:
    if made.is_done and not was_done:
        st.rerun()  # the whole page, so that it stops looking
    if made.error:
        st.error(plain(made.error))
    else:
        st.info(
            plain(f"Forecast: {made.line}" if made.line else "Timing models of the space on this machine.")
        )


def _summary(config: SearchConfig, *, by_time: bool) -> str:
    ladder = " then ".join(f"{steps:,}" for steps in rung_steps(config))
    limits = limit_texts(config.max_size_bytes, config.max_memory_bytes, config.min_decode_tokens_per_s)
    length = f"up to {ladder} steps" if by_time else f"{config.trials} models for {ladder} steps"
    return " · ".join((config.device or "no device", *limits, length, f"{config.sampler} sampler"))


def _ask(wanted: Request, storage: str) -> None:
    st.session_state[_FORECAST] = wanted.options, Forecasting(wanted.options, storage)


def _begin(wanted: Request, storage: str) -> None:
    """Begin the search and go over to watching it; runs before the page is drawn."""
    try:
        launch(wanted.study, ["run", *wanted.options, f"--study={wanted.study}"], storage)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)
        return
    st.session_state["search_name"] = ""
    st.session_state[VIEW], st.session_state[STUDY] = WATCH, wanted.study
