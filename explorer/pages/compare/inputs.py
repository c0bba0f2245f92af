"""Controls of the compare page, and the comparison that they ask for."""

from __future__ import annotations

import streamlit as st

from explorer.state import Choice, Choices, PageState, Text, Values
from explorer.widgets import deployment
from explorer.widgets.controls import choice, choices, number, text
from explorer.widgets.deployment import device_title, format_of_runtime, usual_format
from explorer.widgets.device_choice import draw_variants, variants_control
from reports.tables.compare import FIGURES, KEPT, SORTS
from sizer.architecture import Architecture
from sizer.comparison import Comparison, compare
from sizer.devices.catalogue import device, load_devices
from sizer.errors import SizerError
from sizer.quality.accuracy import corpora
from sizer.registry import model, models
from sizer.runtimes import runtime
from sizer.shape_code import PREFIX, architecture_of_code

KEYS = "compare_"

_NAMES = tuple(sorted(models(), key=str.lower))
MODELS = Choices(
    f"{KEYS}models",
    "Models",
    ("SmolLM2-135M", "MobileLLM-350M", "Qwen2.5-0.5B", "Llama-3.2-1B"),
    _NAMES,
    "Names of the catalogue, or a shape's code (`shape:...`) as the size page's address has it.",
    free=True,
)
DEVICES = Choices(
    f"{KEYS}devices", "Devices", ("raspberry-pi-5", "iphone-15-pro", "pixel-8a"), tuple(load_devices())
)
VARIANTS = variants_control(KEYS)
RUNTIME = deployment.RUNTIME._replace(key=f"{KEYS}engine")
FORMAT = deployment.FORMAT._replace(key=f"{KEYS}format")
CONTEXT = deployment.CONTEXT._replace(key=f"{KEYS}context")
TOKENS = Text(f"{KEYS}tokens", "Training tokens", "", "Such as 300B; empty: 20 a weight and 1T.")
CORPUS = Choice(f"{KEYS}corpus", "Corpus", "", ("", *sorted(corpora())), "Without one, ranges are wider.")
FIGURE = Choice(f"{KEYS}figure", "Figure", next(iter(FIGURES)), tuple(FIGURES))
ON = "on "  # prefix of a device's name: rows are sorted by the figure on that device
SORT = Choice(f"{KEYS}sort", "Sort by", SORTS[0], (*SORTS, *(ON + name for name in load_devices())))
KEEP = Choice(f"{KEYS}keep", "Show models that", KEPT[0], KEPT)
_ROWS = tuple(map(str, range(100)))
FIRST = Choice(f"{KEYS}a", "A", "0", _ROWS)
SECOND = Choice(f"{KEYS}b", "B", "1", _ROWS)
TARGET = Choice(f"{KEYS}target", "On", DEVICES.first[0], tuple(load_devices()))


def _of_runtime(values: Values) -> dict[str, str]:
    return {FORMAT.key: format_of_runtime(values[RUNTIME.key], values[FORMAT.key])}


STATE = PageState(
    prefix=KEYS,
    controls=(
        MODELS,
        DEVICES,
        VARIANTS,
        RUNTIME,
        FORMAT,
        CONTEXT,
        TOKENS,
        CORPUS,
        FIGURE,
        SORT,
        KEEP,
        FIRST,
        SECOND,
        TARGET,
    ),
    corrections=_of_runtime,
)

# Each pair takes a few milliseconds, with some runtimes fifty.
MOST_MODELS, MOST_DEVICES = 40, 12


def draw_inputs() -> None:
    """Draw the models, devices and deployment to compare."""
    st.subheader("Compare", divider="gray")
    choices(MODELS, max_selections=MOST_MODELS)
    draw_variants(VARIANTS, choices(DEVICES, max_selections=MOST_DEVICES, format_func=device_title))
    st.subheader("Deploy", divider="gray")
    known = runtime(choice(RUNTIME, on_change=_take_usual_format))
    choice(FORMAT, among=known.formats)
    number(CONTEXT)
    st.subheader("Train", divider="gray")
    text(TOKENS)
    choice(CORPUS, format_func=lambda name: name or "not said")


def _take_usual_format() -> None:
    st.session_state[FORMAT.key] = usual_format(st.session_state[RUNTIME.key])


def model_of(code: str) -> Architecture:
    """Return a model by its catalogue name or a shape's code; never from a file of this machine."""
    if code.startswith(PREFIX):
        return architecture_of_code(code.removeprefix(PREFIX))
    return model(code).architecture


@st.cache_data(max_entries=32, show_spinner="Sizing every model on every device")
def compared(
    names: tuple[str, ...], devices: tuple[str, ...], format: str, runtime_name: str, context: int
) -> tuple[Comparison | None, tuple[str, ...]]:
    """Return the comparison of the models that can be sized, and a line for each that cannot."""
    sizable, refused = [], []
    known = [device(name) for name in devices]
    for name in names[:MOST_MODELS]:
        try:
            architecture = model_of(name)
            tried = compare([architecture], [], format=format, runtime=runtime_name, context_tokens=context)
        except SizerError as error:
            refused.append(f"{name}: {error}")
        else:
            sizable.append(architecture)
            if reason := tried.rows[0][0].unsupported.get("weights"):
                refused.append(f"{name}: {reason}")
    if not sizable:
        return None, tuple(refused)
    found = compare(
        sizable, known[:MOST_DEVICES], format=format, runtime=runtime_name, context_tokens=context
    )
    return found, tuple(refused)
