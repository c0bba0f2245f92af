"""The compare page's controls, and the comparison that their values ask for."""

from __future__ import annotations

import streamlit as st

from explorer.controls import Choice, Choices, Number, choice, choices, number
from explorer.size_controls import CONTEXT as SIZE_CONTEXT
from explorer.size_controls import ENGINE as SIZE_ENGINE
from explorer.size_controls import FORMAT as SIZE_FORMAT
from explorer.size_state import usual_format
from reports.compare_frames import FIGURES, KEPT, SORTS
from sizer.architecture import Architecture
from sizer.comparison import Comparison, compare
from sizer.device import device, load_devices
from sizer.errors import SizerError
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
ENGINE = SIZE_ENGINE._replace(key=f"{KEYS}engine")
FORMAT = SIZE_FORMAT._replace(key=f"{KEYS}format")
CONTEXT = Number(f"{KEYS}context", "Context (tokens)", SIZE_CONTEXT.first, 16, 2**20, 256)
FIGURE = Choice(f"{KEYS}figure", "Figure", next(iter(FIGURES)), tuple(FIGURES))
ON = "on "  # before a device's name: rows are sorted by the figure on it
SORT = Choice(f"{KEYS}sort", "Sort by", SORTS[0], (*SORTS, *(ON + name for name in load_devices())))
KEEP = Choice(f"{KEYS}keep", "Show models that", KEPT[0], KEPT)
_ROWS = tuple(map(str, range(100)))
FIRST = Choice(f"{KEYS}a", "A", "0", _ROWS)
SECOND = Choice(f"{KEYS}b", "B", "1", _ROWS)
BESIDE = Choice(f"{KEYS}beside", "On", DEVICES.first[0], tuple(load_devices()))

CONTROLS = (MODELS, DEVICES, ENGINE, FORMAT, CONTEXT, FIGURE, SORT, KEEP, FIRST, SECOND, BESIDE)

# Each pair takes a few milliseconds, with some engines fifty.
MOST_MODELS, MOST_DEVICES = 40, 12


def keep_to_engine() -> None:
    """A format that the engine does not have gives way to its usual one."""
    engine = runtime(st.session_state[ENGINE.key])
    if st.session_state[FORMAT.key] not in engine.formats:
        st.session_state[FORMAT.key] = usual_format(engine)


def draw_inputs() -> None:
    """Draw what the comparison is made of."""
    st.subheader("Compare", divider="gray")
    choices(MODELS, max_selections=MOST_MODELS)
    choices(DEVICES, max_selections=MOST_DEVICES, format_func=_device_title)
    st.subheader("Deploy", divider="gray")
    engine = runtime(choice(ENGINE, on_change=_take_usual_format))
    choice(FORMAT, among=engine.formats)
    number(CONTEXT)


def _device_title(name: str) -> str:
    return load_devices()[name].title


def _take_usual_format() -> None:
    st.session_state[FORMAT.key] = usual_format(runtime(st.session_state[ENGINE.key]))


def model_of(text: str) -> Architecture:
    """A model by its name in the catalogue, or by a shape's code; never a file of this machine."""
    if text.startswith(PREFIX):
        return architecture_of_code(text.removeprefix(PREFIX))
    return model(text).architecture


@st.cache_data(max_entries=32, show_spinner="Sizing every model on every device")
def compared(
    names: tuple[str, ...], devices: tuple[str, ...], format: str, engine: str, context: int
) -> tuple[Comparison | None, tuple[str, ...]]:
    """The comparison of the models that can be sized, and a line for each that cannot."""
    sizable, refused = [], []
    known = [device(name) for name in devices]
    for name in names[:MOST_MODELS]:
        try:
            architecture = model_of(name)
            compare([architecture], [], format=format, runtime=engine, context_tokens=context)
        except SizerError as error:
            refused.append(f"{name}: {error}")
        else:
            sizable.append(architecture)
    if not sizable:
        return None, tuple(refused)
    found = compare(sizable, known[:MOST_DEVICES], format=format, runtime=engine, context_tokens=context)
    return found, tuple(refused)
