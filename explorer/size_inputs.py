"""The size page's sidebar: where the shape comes from, where it runs, and the sliders that move it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from explorer.controls import choice, flag, number, slider, text
from explorer.size_controls import (
    BY_HAND,
    CACHE,
    CONTEXT,
    COUNT,
    DEVICE,
    ENGINE,
    FFN,
    FORMAT,
    FROM_CATALOGUE,
    FROM_COUNT,
    FROM_FILE,
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    LAYERS,
    MODEL,
    NAME,
    NO_DEVICE,
    REPEAT,
    SHAPE,
    SHARING,
    SIZE_LEFT,
    START,
    TIED,
    VOCABULARY,
    WIDTH,
)
from explorer.size_state import deployment_of, slider_values, start_of, usual_format, values_of
from reports.wording import plain
from sizer.architecture import Architecture, SharingStrategy
from sizer.device import load_devices
from sizer.errors import SizerError
from sizer.readers.config_json import MAX_CONFIG_BYTES
from sizer.readers.model_bytes import MAX_UPLOAD_MB, read_pasted, read_upload
from sizer.runtimes import runtime
from sizer.shape_code import shape_code
from sizer.solve import nearest_divisor

# What the sliders started from at the last run: by hand one goes on from there.
START_CODE = "start_code"
_PASTED, _UPLOADED, _FILE_ERROR = "pasted", "uploaded", "file_error"
# The width the feed-forward width was last set for, to keep their ratio when the width moves.
_WIDTH_BEFORE = "width_before"


def take_first_values() -> None:
    """Give every control its value: this session's, or in a new session or after a link the address's."""
    state = st.session_state
    query = st.query_params.to_dict()
    linked = query and state.get(SIZE_LEFT)
    for key, value in values_of(query).items():
        if linked or key not in state:
            state[key] = value
    if linked or _WIDTH_BEFORE not in state:
        state[_WIDTH_BEFORE] = state[WIDTH.key]
    state[SIZE_LEFT] = False
    # a format or cache that the engine does not have gives way to its usual one
    state.update(deployment_of(state[ENGINE.key], state.to_dict()))


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
        help=f"At most {MAX_UPLOAD_MB} MB, read here and not kept. Of a GGUF file the header is read, which "
        f"the first megabytes hold: `head -c {MAX_UPLOAD_MB}M model.gguf > start.gguf`.",
    )
    if message := st.session_state.get(_FILE_ERROR):
        st.error(plain(message))


def _take_pasted() -> None:
    _take_read(lambda: read_pasted(st.session_state[_PASTED]))


def _take_upload() -> None:
    file = st.session_state[_UPLOADED]
    if file is not None:
        _take_read(lambda: read_upload(file, file.name))


def _take_read(read: Callable[[], Architecture]) -> None:
    """Start from what was read; of what cannot be read only the error is kept."""
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
    """Set the sliders to the model, file or count chosen; by hand they stay where they are."""
    state = st.session_state
    try:
        if state[START.key] == BY_HAND:
            state[SHAPE.key], state[NAME.key] = state.get(START_CODE, ""), ""
            return
        start = start_of(state.to_dict())
    except SizerError:  # the page says it
        return
    state.update(slider_values(start))
    state[_WIDTH_BEFORE] = state[WIDTH.key]


def _draw_deployment() -> None:
    st.subheader("Deploy", divider="gray")
    choice(DEVICE, format_func=_device_title)
    engine = runtime(choice(ENGINE, on_change=_take_usual))
    left, right = st.columns(2)
    with left:
        choice(FORMAT, among=engine.formats)
    with right:
        choice(CACHE, among=engine.cache_types)
    number(CONTEXT)


def _device_title(name: str) -> str:
    return "no device" if name == NO_DEVICE else load_devices()[name].title


def _take_usual() -> None:
    """Another engine: its usual format and cache."""
    state, engine = st.session_state, runtime(st.session_state[ENGINE.key])
    state[FORMAT.key], state[CACHE.key] = usual_format(engine), engine.cache_types[0]


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


def _keep_ffn_ratio() -> None:
    state = st.session_state
    scaled = round(state[FFN.key] * state[WIDTH.key] / state[_WIDTH_BEFORE] / FFN.step) * FFN.step
    state[FFN.key] = min(max(scaled, FFN.low), FFN.high)
    state[_WIDTH_BEFORE] = state[WIDTH.key]


def _keep_kv_heads() -> None:
    heads = st.session_state[HEADS.key]
    st.session_state[KV_HEADS.key] = nearest_divisor(heads, min(st.session_state[KV_HEADS.key], heads))
