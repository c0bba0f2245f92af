"""The search page's form: the search to run, an estimate of its time, and the button that starts it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from explorer.pages.search.controls import (
    BY_STEPS,
    BY_TIME,
    CONTEXT,
    CORPUS,
    DEVICE,
    KEEP,
    KEYS,
    LENGTH,
    MAX_MEMORY,
    MAX_SIZE,
    MIN_DECODE,
    MINUTES,
    NAME,
    PRESET,
    RUNTIME,
    SAMPLER,
    SEED,
    SPACE,
    STATE,
    STEPS,
    STUDY,
    TRIALS,
    VIEW,
    WATCH,
    WORKERS,
    preset_values,
)
from explorer.pages.search.request import Request, SearchForm, base_config, config_file, request
from explorer.pages.search.space import draw_space, space_text
from explorer.pages.search.studies import next_name, taken_names
from explorer.widgets.controls import choice, flag, number, text
from reports.text.wording import escape_markdown, limit_texts
from search.run.launch import Forecasting, launch
from search.schedule.plan import rung_steps
from sizer.errors import SizerError

if TYPE_CHECKING:
    from search.config.config import SearchConfig

_FORECAST, _ERROR = "search_forecast", "search_error"


def start_view(storage: str) -> None:
    """Draw the form."""
    _draw()
    names = taken_names(storage)
    try:
        wanted = request(_form(next_name(names)), Path.cwd())
    except SizerError as error:
        draw_space(SPACE, base_config(st.session_state[PRESET.key]))
        st.error(escape_markdown(str(error)))
        return
    draw_space(SPACE, wanted.config)
    _show_request(wanted, names, storage)


def _load_preset() -> None:
    """Set the fields to the preset's values."""
    st.session_state.update(preset_values(STATE.values()))


def _draw() -> None:
    left, middle, right = st.columns(3, gap="large")
    with left:
        st.subheader("Budget", divider="gray")
        choice(PRESET, on_change=_load_preset)
        DEVICE.draw()
        for limit in (MAX_SIZE, MAX_MEMORY, MIN_DECODE):
            text(limit)
        choice(RUNTIME)
        number(CONTEXT)
    with middle:
        st.subheader("Training", divider="gray")
        if choice(LENGTH) == BY_STEPS:
            number(TRIALS)
            number(STEPS)
        else:
            number(MINUTES)
        choice(SAMPLER)
        number(WORKERS)
        number(SEED)
    with right:
        st.subheader("Study", divider="gray")
        text(NAME, placeholder="search-N")
        text(CORPUS, placeholder="built-in")
        flag(KEEP)


def _form(name: str) -> SearchForm:
    state = st.session_state
    values = {field: state.get(f"{KEYS}{field}") for field in SearchForm._fields}
    values["others"] = tuple((control.key.removeprefix(KEYS), state[control.key]) for control in SPACE)
    by_time = state[LENGTH.key] == BY_TIME
    values["device"] = DEVICE.name(STATE.values()) or ""
    study = st.session_state[NAME.key].strip() or name
    return SearchForm(**values | {"minutes": values["minutes"] if by_time else None, "study": study})


def _show_request(wanted: Request, names: tuple[str, ...], storage: str) -> None:
    state = st.session_state
    st.caption(escape_markdown(_summary(wanted.config, by_time=state[LENGTH.key] == BY_TIME)))
    st.caption(escape_markdown(f"Space: {space_text(wanted.config)}. Change it under Space of models."))
    command = shlex.join(["sizer", "search", "run", *wanted.options, f"--study={wanted.study}"])
    st.code(command, language="sh", wrap_lines=True)
    if wanted.toml:
        with st.expander(f"{config_file(wanted.study)}, written at the start"):
            st.code(wanted.toml, language="toml")
    if wanted.config.training.proxy_width_scale is not None:
        st.info(
            "The models of this budget are too large to train many of: narrow proxies are trained in their "
            "place and their scores extrapolated. The fields of proxies under Training change that."
        )
    taken = wanted.study in names
    if taken:
        st.error(escape_markdown(f"study: {wanted.study!r} exists already; give another name, or resume it"))
    buttons = st.container(horizontal=True)
    buttons.button(
        "Estimate time",
        key="search_ask",
        help="Times models of the space on this machine, for some seconds.",
        on_click=_ask,
        args=(wanted, storage),
    )
    buttons.button(
        "Start the search",
        key="search_begin",
        type="primary",
        disabled=taken,
        on_click=_start,
        args=(wanted, storage),
    )
    if message := state.pop(_ERROR, None):
        st.error(escape_markdown(message))
    options, made = state.get(_FORECAST, (None, None))
    if options == wanted.options:
        st.fragment(_show_forecast, run_every=None if made.is_done else 1.0)(made, made.is_done)


def _show_forecast(made: Forecasting, was_done: bool) -> None:
    if made.is_done and not was_done:
        st.rerun()  # the whole page: the fragment no longer has to run every second
    if made.error:
        st.error(escape_markdown(made.error))
    elif made.line:
        st.info(escape_markdown(f"Estimated time: {made.line}"))
    else:
        number, of = made.at_model
        st.progress(
            (number - 1) / of if of else 0.0,
            f"Timing model {number} of {of} of the space on this machine." if of else "Reading the text.",
        )
        row = st.container(horizontal=True, vertical_alignment="center")
        row.caption("Closing the page ends it.")
        row.button("Cancel", key="search_cancel_forecast", on_click=made.cancel)


def _summary(config: SearchConfig, *, by_time: bool) -> str:
    ladder = " then ".join(f"{steps:,}" for steps in rung_steps(config))
    limits = limit_texts(
        config.budget.max_size_bytes, config.budget.max_memory_bytes, config.budget.min_decode_tokens_per_s
    )
    length = f"up to {ladder} steps" if by_time else f"{config.training.trials} models for {ladder} steps"
    return " · ".join(
        (config.budget.device or "no device", *limits, length, f"{config.training.sampler} sampler")
    )


def _ask(wanted: Request, storage: str) -> None:
    try:
        wanted.write_file(Path.cwd())
    except SizerError as error:
        st.session_state[_ERROR] = str(error)
    else:
        st.session_state[_FORECAST] = wanted.options, Forecasting(wanted.options, storage)


def _start(wanted: Request, storage: str) -> None:
    """Start the search and show it in the view Watch; called before the page is drawn."""
    try:
        wanted.write_file(Path.cwd())
        launch(wanted.study, ["run", *wanted.options, f"--study={wanted.study}"], storage)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)
        return
    st.session_state.update({NAME.key: "", VIEW.key: WATCH, STUDY.key: wanted.study})
