"""The page "Size a model": a shape, a format and a device in; parameters, bytes and speed out, at once."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from explorer.controls import Choice, Flag, Number, Text, choice, flag, number, restore, share, slider, text
from explorer.panels import show_breakdowns, show_details, show_headline
from reports.wording import count_text, shape_text
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.device import device as device_by_name
from sizer.device import load_devices
from sizer.errors import InvalidQuantity, SizerError
from sizer.estimate import Estimate, estimate
from sizer.formats.gguf_layout import gguf_layout
from sizer.registry import model as model_by_name
from sizer.registry import models
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.runtimes.base import Runtime
from sizer.solve import architecture_near, nearest_divisor
from sizer.units import parse_count
from sizer.workload import CACHE_TYPES, Workload

FROM_CATALOGUE, FROM_COUNT, BY_HAND = "a known model", "a parameter count", "by hand"
NO_DEVICE = "none"
FIRST_MODEL = "SmolLM2-135M"

_FIRST = model_by_name(FIRST_MODEL).architecture

START = Choice("start", "Start from", FROM_CATALOGUE, (FROM_CATALOGUE, FROM_COUNT, BY_HAND))
# Shapes that the widths of this page can say.
_SHOWN = ("llama", "gptneox")
_SIZABLE = [name for name, row in models().items() if gguf_layout(row.architecture) in _SHOWN]
MODEL = Choice("model", "Model", FIRST_MODEL, tuple(sorted(_SIZABLE, key=str.lower)))
COUNT = Text(
    "count", "Parameters", "125M", "A number with K, M or B; the nearest deep and thin shape is taken."
)
ENGINE = Choice("engine", "Engine", "llama.cpp", RUNTIME_NAMES, "What runs the model on the device.")
_FORMATS = dict.fromkeys(name for engine in RUNTIME_NAMES for name in runtime(engine).formats)
FORMAT = Choice("format", "Format", "Q4_K_M", tuple(_FORMATS), "How the engine's file stores the weights.")
DEVICE = Choice("device", "Device", "raspberry-pi-5", (NO_DEVICE, *load_devices()))
CONTEXT = Number("context", "Context (tokens)", 2048, 256, 131072, 256)
CACHE = Choice("cache", "Cache type", "F16", CACHE_TYPES)
LAYERS = Number(
    "layers", "Layers", _FIRST.num_layers, 1, 80, 1, "Stored blocks; sharing runs each more than once."
)
WIDTH = Number("width", "Width", _FIRST.hidden_size, 32, 4096, 32, "hidden_size")
FFN = Number(
    "ffn",
    "FFN width",
    _FIRST.intermediate_size,
    32,
    32768,
    32,
    "Width of the feed-forward block (intermediate_size); follows the width when that moves.",
)
HEADS = Number("heads", "Heads", _FIRST.num_heads, 1, 64, 1)
KV_HEADS = Number("kv_heads", "KV heads", _FIRST.num_kv_heads, 1, 64, 1, "Must divide the heads.")
HEAD_DIM = Number("head_dim", "Head width", _FIRST.head_dim, 8, 256, 8)
VOCABULARY = Number("vocabulary", "Vocabulary", _FIRST.vocab_size, 2, 300_000, 1)
TIED = Flag("tied", "Embedding tied to the head", _FIRST.tie_embeddings)
SHARING = Choice("sharing", "Sharing", "none", tuple(s.value for s in SharingStrategy))
REPEAT = Number("repeat", "Runs of a block", 2, 2, 8, 1)

CONTROLS = (
    *(START, MODEL, COUNT, ENGINE, FORMAT, DEVICE, CONTEXT, CACHE),
    *(LAYERS, WIDTH, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY, TIED, SHARING, REPEAT),
)

# The width the feed-forward width was last set for, to keep their ratio when the width moves.
_WIDTH_BEFORE = "width_before"


def page() -> None:
    """Draw the page."""
    restore(CONTROLS)
    _keep_to_engine()
    st.session_state.setdefault(_WIDTH_BEFORE, st.session_state[WIDTH.key])
    with st.sidebar:
        base = _base()
        _draw_controls()
    st.header("Size a model")
    try:
        sized = _estimate(base)
    except SizerError as error:
        st.error(str(error))
    else:
        _show(sized)
    share(CONTROLS)


def _keep_to_engine() -> None:
    """A format or cache that the engine does not have gives way to its usual one."""
    state, engine = st.session_state, runtime(st.session_state[ENGINE.key])
    if state[FORMAT.key] not in engine.formats:
        state[FORMAT.key] = _usual_format(engine)
    if state[CACHE.key] not in engine.cache_types:
        state[CACHE.key] = engine.cache_types[0]


def _take_usual() -> None:
    """Another engine: its usual format and cache."""
    state, engine = st.session_state, runtime(st.session_state[ENGINE.key])
    state[FORMAT.key], state[CACHE.key] = _usual_format(engine), engine.cache_types[0]


def _usual_format(engine: Runtime) -> str:
    """What the engine's users mean by 4 bits, or by the most bits below."""
    for bits in (4, 3, 2):
        try:
            return engine.format_for_bits(bits)
        except InvalidQuantity:
            continue
    return engine.formats[0]


def _base() -> Architecture:
    """What is kept where the sliders do not reach (norms, biases, kind of feed-forward block)."""
    choice(START, on_change=_load_start)
    start = st.session_state[START.key]
    if start == FROM_CATALOGUE:
        return model_by_name(choice(MODEL, on_change=_load_start)).architecture
    if start == FROM_COUNT:
        text(COUNT, on_change=_load_start)
        if message := st.session_state.get("count_error"):
            st.error(message)
    return replace(_FIRST, name="custom")


def _load_start() -> None:
    """Set the sliders to the model or parameter count chosen; by hand they stay where they are."""
    state = st.session_state
    state["count_error"] = None
    if state[START.key] == FROM_CATALOGUE:
        _set_shape(model_by_name(state[MODEL.key]).architecture)
    elif state[START.key] == FROM_COUNT:
        try:
            near = architecture_near(
                parse_count(state[COUNT.key], "parameters"), vocab_size=state[VOCABULARY.key]
            )
        except SizerError as error:
            state["count_error"] = str(error)
        else:
            _set_shape(near)


def _set_shape(a: Architecture) -> None:
    wanted = {
        LAYERS: a.num_layers,
        WIDTH: a.hidden_size,
        FFN: a.intermediate_size,
        HEADS: a.num_heads,
        KV_HEADS: a.num_kv_heads,
        HEAD_DIM: a.head_dim,
        VOCABULARY: a.vocab_size,
    }
    for control, value in wanted.items():
        # a shape beyond a slider's end stops there; the exact count shown says what was sized
        st.session_state[control.key] = min(max(value, control.low), control.high)
    st.session_state[_WIDTH_BEFORE] = st.session_state[WIDTH.key]
    st.session_state[TIED.key] = a.tie_embeddings
    st.session_state[SHARING.key] = a.sharing.strategy.value
    st.session_state[REPEAT.key] = max(REPEAT.low, a.sharing.repeat)


def _keep_ffn_ratio() -> None:
    state = st.session_state
    scaled = round(state[FFN.key] * state[WIDTH.key] / state[_WIDTH_BEFORE] / FFN.step) * FFN.step
    state[FFN.key] = min(max(scaled, FFN.low), FFN.high)
    state[_WIDTH_BEFORE] = state[WIDTH.key]


def _keep_kv_heads() -> None:
    heads = st.session_state[HEADS.key]
    st.session_state[KV_HEADS.key] = nearest_divisor(heads, min(st.session_state[KV_HEADS.key], heads))


def _draw_controls() -> None:
    st.subheader("Deploy", divider="gray")
    choice(DEVICE, format_func=_device_title)
    engine = runtime(choice(ENGINE, on_change=_take_usual))
    left, right = st.columns(2)
    with left:
        choice(FORMAT, among=engine.formats)
    with right:
        choice(CACHE, among=engine.cache_types)
    number(CONTEXT)
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


def _device_title(name: str) -> str:
    return "no device" if name == NO_DEVICE else load_devices()[name].title


def _estimate(base: Architecture) -> Estimate:
    state = st.session_state
    strategy = SharingStrategy(state[SHARING.key])
    architecture = replace(
        base,
        num_layers=state[LAYERS.key],
        hidden_size=state[WIDTH.key],
        intermediate_size=state[FFN.key],
        num_heads=state[HEADS.key],
        num_kv_heads=state[KV_HEADS.key],
        head_dim=state[HEAD_DIM.key],
        vocab_size=state[VOCABULARY.key],
        tie_embeddings=state[TIED.key],
        sharing=LayerSharing(
            strategy=strategy, repeat=1 if strategy is SharingStrategy.NONE else state[REPEAT.key]
        ),
    )
    if architecture != base:
        architecture = replace(architecture, name="custom")
    return estimate(
        architecture=architecture,
        format=state[FORMAT.key],
        runtime=state[ENGINE.key],
        workload=Workload(context_tokens=state[CONTEXT.key], cache_type=state[CACHE.key]),
        device=None if state[DEVICE.key] == NO_DEVICE else device_by_name(state[DEVICE.key]),
    )


def _show(sized: Estimate) -> None:
    a = sized.architecture
    st.caption(f"{a.name}: {shape_text(a)}, {count_text(sized.parameters.total)} parameters, {sized.runtime}")
    show_headline(sized)
    show_breakdowns(sized, "size")
    show_details(sized)


page()
