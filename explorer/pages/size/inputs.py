"""Sidebar of the size page: the source of the shape, its deployment, and sliders for its fields."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from explorer.pages.size.controls import (
    ENDS,
    FFN,
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    LAYERS,
    REPEAT,
    SHARING,
    TIED,
    VOCABULARY,
    WIDTH,
)
from explorer.pages.size.state import DEVICE_CHOICE, STATE, slider_values
from explorer.widgets.controls import choice, flag, number, slider, text
from explorer.widgets.deployment import CACHE, CONTEXT, FORMAT, RUNTIME, usual_format
from explorer.widgets.limits import LIMITS, draw_limits
from explorer.widgets.model_source import COUNT, start_of
from explorer.widgets.size_link import (
    BY_HAND,
    FROM_CATALOGUE,
    FROM_COUNT,
    FROM_FILE,
    MODEL,
    NAME,
    SHAPE,
    START,
)
from reports.text.wording import escape_markdown
from sizer.architecture import Architecture, SharingStrategy
from sizer.errors import SizerError
from sizer.readers.config_json import MAX_CONFIG_BYTES
from sizer.readers.model_bytes import MAX_UPLOAD_MB, read_pasted, read_upload
from sizer.runtimes import runtime
from sizer.shape_code import shape_code
from sizer.shapes.near_count import nearest_divisor

# Code of the shape that the sliders started from at the last run: by hand it is the start.
START_CODE = "start_code"
_PASTED, _UPLOADED, _FILE_ERROR = "pasted", "uploaded", "file_error"
# Hidden size that the FFN size was last set for, to keep their ratio when the hidden size changes.
_WIDTH_BEFORE = "width_before"


def load() -> None:
    """Give every control its value."""
    if STATE.load():
        st.session_state[_WIDTH_BEFORE] = st.session_state[WIDTH.key]


def draw_inputs() -> None:
    """Draw all controls."""
    choice(START, on_change=_load_start)
    start = st.session_state[START.key]
    if start == FROM_CATALOGUE:
        choice(MODEL, on_change=_load_start)
    elif start == FROM_COUNT:
        text(COUNT, on_change=_load_start)
    elif start == FROM_FILE:
        _draw_file()
    _draw_deployment()
    _draw_shape()


def _draw_file() -> None:
    st.text_area(
        "Paste a config.json",
        key=_PASTED,
        height=140,
        max_chars=MAX_CONFIG_BYTES,
        placeholder='{"model_type": "llama", "hidden_size": 576, ...}',
        on_change=_take_pasted,
        persist_state="session",
    )
    st.file_uploader(
        "or upload a config.json or GGUF file",
        type=["json", "gguf"],
        key=_UPLOADED,
        max_upload_size=MAX_UPLOAD_MB,
        on_change=_take_upload,
        help=f"At most {MAX_UPLOAD_MB} MB, read here and not kept. Of a GGUF file only the header is read, "
        f"which is in the first megabytes: `head -c {MAX_UPLOAD_MB}M model.gguf > start.gguf`.",
    )
    if message := st.session_state.get(_FILE_ERROR):
        st.error(escape_markdown(message))


def _take_pasted() -> None:
    _take_read(lambda: read_pasted(st.session_state[_PASTED]))


def _take_upload() -> None:
    file = st.session_state[_UPLOADED]
    if file is not None:
        _take_read(lambda: read_upload(file, file.name))


def _take_read(read: Callable[[], Architecture]) -> None:
    """Start from the shape that is read; keep the error of a file that cannot be read."""
    state = st.session_state
    state[_FILE_ERROR] = None
    try:
        architecture = read()
    except SizerError as error:
        state[SHAPE.key], state[_FILE_ERROR] = "", str(error)
        return
    state[SHAPE.key], state[NAME.key] = shape_code(architecture), architecture.name
    _load_start()


def _load_start() -> None:
    """Set the sliders to the chosen model, file or count; by hand they keep their values."""
    state = st.session_state
    try:
        if state[START.key] == BY_HAND:
            state[SHAPE.key], state[NAME.key] = state.get(START_CODE, ""), ""
            return
        start = start_of(STATE.values())
    except SizerError:  # the page shows it
        return
    state.update(slider_values(start))
    state[_WIDTH_BEFORE] = state[WIDTH.key]


def _draw_deployment() -> None:
    st.subheader("Deploy", divider="gray")
    DEVICE_CHOICE.draw()
    engine = runtime(choice(RUNTIME, on_change=_take_usual))
    left, right = st.columns(2)
    with left:
        choice(FORMAT, among=engine.formats)
    with right:
        choice(CACHE, among=engine.cache_types)
    number(CONTEXT)
    st.subheader("Limits", divider="gray")
    draw_limits(*LIMITS)


def _take_usual() -> None:
    """Set the format and cache type to the usual ones of the newly chosen runtime."""
    state, name = st.session_state, st.session_state[RUNTIME.key]
    state[FORMAT.key], state[CACHE.key] = usual_format(name), runtime(name).cache_types[0]


def _draw_shape() -> None:
    st.subheader("Shape", divider="gray")
    slider(LAYERS)
    slider(WIDTH, on_change=_keep_ffn_ratio)
    left, right = st.columns(2)
    with left:
        number(FFN)
        slider(HEADS, on_change=_keep_kv_heads)
    with right:
        number(VOCABULARY)
        slider(KV_HEADS)
    slider(HEAD_DIM)
    flag(TIED)
    left, right = st.columns(2)
    with left:
        choice(SHARING)
    with right:
        slider(REPEAT, disabled=st.session_state[SHARING.key] == SharingStrategy.NONE.value)
    if st.session_state[SHARING.key] == SharingStrategy.MIDDLE.value:
        slider(ENDS)


def _keep_ffn_ratio() -> None:
    state = st.session_state
    scaled = round(state[FFN.key] * state[WIDTH.key] / state[_WIDTH_BEFORE] / FFN.step) * FFN.step
    state[FFN.key] = min(max(scaled, FFN.low), FFN.high)
    state[_WIDTH_BEFORE] = state[WIDTH.key]


def _keep_kv_heads() -> None:
    heads = st.session_state[HEADS.key]
    st.session_state[KV_HEADS.key] = nearest_divisor(heads, min(st.session_state[KV_HEADS.key], heads))
