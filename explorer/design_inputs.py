"""The design page's controls, the query that their values ask for, and what is kept of its answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import streamlit as st

from explorer.controls import Choice, Choices, Flag, Number, Text, choice, choices, flag, number, text
from explorer.size_controls import DEVICE as SIZE_DEVICE
from explorer.size_controls import ENGINE as SIZE_ENGINE
from explorer.size_controls import NO_DEVICE
from explorer.size_state import usual_format
from reports.design_figures import AXES
from reports.same_size_figures import FORMAT_COLOURS
from search.space.design import Design, design, lattice_query, tried_shapes
from search.space.lattice import MOST_DEPTH, Form
from search.space.sized_shapes import DesignQuery
from sizer.architecture import Architecture
from sizer.budget import Budget
from sizer.device import load_devices
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.units import parse_bytes, parse_count
from sizer.workload import Workload

if TYPE_CHECKING:
    from search.space.design import Ranked
    from search.space.sized_shapes import SizedShapes

KEYS = "design_"

DEVICE = SIZE_DEVICE._replace(key=f"{KEYS}device")
MAX_SIZE = Text(f"{KEYS}max_size", "Largest file", "60MB", "Such as 60MB; empty for no limit.")
MAX_MEMORY = Text(
    f"{KEYS}max_memory", "Most memory", "", "Such as 300MB; the device's own limit holds in any case."
)
MIN_DECODE = Text(f"{KEYS}min_decode", "Least tokens per second", "", "Of decoding, such as 30.")
ENGINE = SIZE_ENGINE._replace(key=f"{KEYS}engine")
_FORMATS = tuple(dict.fromkeys(name for engine in RUNTIME_NAMES for name in runtime(engine).formats))
FORMATS = Choices(
    f"{KEYS}formats",
    "Formats",
    ("Q4_0", "Q4_K_M", "Q5_0", "Q8_0"),
    _FORMATS,
    "Each is tried with every shape.",
)
CONTEXT = Number(f"{KEYS}context", "Context (tokens)", Workload().context_tokens, 16, 2**20, 256)
VOCABULARY = Text(f"{KEYS}vocabulary", "Vocabulary", "32000", "Rows of the embedding table.")
TIED = Flag(f"{KEYS}tied", "Embedding tied to the head", True)
AXIS = Choice(f"{KEYS}axis", "Against", "decode", tuple(AXES))
LEAST = Number(f"{KEYS}least", "Layers, at least", 1, 1, MOST_DEPTH, 1)
MOST = Number(f"{KEYS}most", "at most", MOST_DEPTH, 1, MOST_DEPTH, 1)
PICK = Text(f"{KEYS}pick", "Chosen", "")

CONTROLS = (
    *(DEVICE, MAX_SIZE, MAX_MEMORY, MIN_DECODE, ENGINE, FORMATS, CONTEXT, VOCABULARY, TIED),
    *(AXIS, LEAST, MOST, PICK),
)

# as many as there are colours for
MOST_FORMATS = len(FORMAT_COLOURS)
_MOST_VOCABULARY = 1_000_000


def keep_to_engine() -> None:
    """Formats that the engine does not have give way to its usual one."""
    engine, state = runtime(st.session_state[ENGINE.key]), st.session_state
    known = [name for name in state[FORMATS.key] if name in engine.formats][:MOST_FORMATS]
    state[FORMATS.key] = known or [usual_format(engine)]


def draw_inputs() -> None:
    """Draw the budget and what the model is deployed with."""
    st.subheader("Budget", divider="gray")
    choice(DEVICE, format_func=lambda n: "no device" if n == NO_DEVICE else load_devices()[n].title)
    left, right = st.columns(2)
    with left:
        text(MAX_SIZE)
    with right:
        text(MAX_MEMORY)
    text(MIN_DECODE)
    st.subheader("Deploy", divider="gray")
    engine = runtime(choice(ENGINE))
    choices(FORMATS, among=engine.formats, max_selections=MOST_FORMATS)
    left, right = st.columns(2)
    with left:
        number(CONTEXT)
    with right:
        text(VOCABULARY)
    flag(TIED)


def query_of(values: Mapping[str, Any]) -> DesignQuery:
    """What the controls' values ask; InvalidQuantity names a text that cannot be read."""
    vocabulary = parse_count(values[VOCABULARY.key].strip(), "vocabulary")
    if not 2 <= vocabulary <= _MOST_VOCABULARY:
        raise InvalidQuantity(
            f"vocabulary: must be from 2 to {_MOST_VOCABULARY:,}, got {values[VOCABULARY.key].strip()!r}"
        )
    device = values[DEVICE.key]
    return DesignQuery(
        budget=Budget(
            max_size_bytes=_bytes(values[MAX_SIZE.key], "largest file"),
            max_memory_bytes=_bytes(values[MAX_MEMORY.key], "most memory"),
            min_decode_tokens_per_s=_rate(values[MIN_DECODE.key], known=device != NO_DEVICE),
        ),
        formats=tuple(values[FORMATS.key]),
        runtime=values[ENGINE.key],
        device=None if device == NO_DEVICE else device,
        context_tokens=values[CONTEXT.key],
        vocab_size=vocabulary,
        tie_embeddings=values[TIED.key],
    )


def _bytes(given: str, field: str) -> int | None:
    return parse_bytes(given.strip(), field) if given.strip() else None


def _rate(given: str, *, known: bool) -> float | None:
    if not given.strip():
        return None
    if not known:
        raise InvalidQuantity("least tokens per second: needs a device to predict speed on")
    try:
        rate = float(given)
    except ValueError:
        rate = -1.0
    if not 0 < rate < 1e9:
        raise InvalidQuantity(
            f"least tokens per second: must be a number above 0, such as 30, got {given.strip()[:40]!r}"
        )
    return rate


# shared, not copied: answers are frozen, and copying a hundred thousand rows takes as long as filtering them
@st.cache_resource(max_entries=16, show_spinner="Sizing every shape")
def designed(query: DesignQuery) -> Design:
    """The answer to a query."""
    return design(query, tried=_tried(lattice_query(query)))


@st.cache_resource(max_entries=4, show_spinner=False)
def _tried(query: DesignQuery) -> SizedShapes:
    """Shapes of one largest file, sized once for every limit on memory and speed."""
    return tried_shapes(query)


@st.cache_resource(max_entries=64, show_spinner=False)
def same_size(query: DesignQuery, format: str) -> Ranked:
    """Shapes of one size in a format, beside the best of the query."""
    return designed(query).same_size(format)


_PICK = re.compile(r"(\w+)x(\d{1,6})x(\d{1,6})x(\d{1,6})x(\d{1,6})x(\d{1,6})x(\d{1,6})", re.ASCII)


def pick_code(architecture: Architecture, format: str) -> str:
    """A shape of the lattice as it stands in the page's address."""
    return "x".join(
        (format, str(architecture.num_layers), *(str(getattr(architecture, n)) for n in Form._fields))
    )


def picked_row(found: Design, code: str) -> int | None:
    """The feasible shape that an address names; None where it names none, or one that is not feasible."""
    read = _PICK.fullmatch(code)
    if read is None:
        return None
    sizes: dict[str, Any] = dict(zip(("num_layers", *Form._fields), map(int, read.groups()[1:]), strict=True))
    try:
        architecture = replace(found.architecture(found.best_row), **sizes)
    except InvalidArchitecture:
        return None
    return found.row_of(architecture, read[1])


def search_command(query: DesignQuery, file_bytes: int) -> str:
    """The search of this budget on the command line."""
    words = ["sizer", "search", "run"]
    for name, value in _search_options(query, file_bytes).items():
        words += [f"--{name.replace('_', '-')}", value]
    return shlex.join(words)


def search_link(query: DesignQuery, file_bytes: int) -> str:
    """The address of the search page with this budget, from the explorer's root."""
    return f"search?{urlencode(_search_options(query, file_bytes))}"


def _search_options(query: DesignQuery, file_bytes: int) -> dict[str, str]:
    """Options of a search; one without a largest file is held to the chosen shape's."""
    budget = query.budget
    size = file_bytes if budget.max_size_bytes is None else budget.max_size_bytes
    return {
        **({} if query.device is None else {"device": query.device}),
        "max_size": bytes_text(size),
        **({} if budget.max_memory_bytes is None else {"max_memory": bytes_text(budget.max_memory_bytes)}),
        **(
            {}
            if budget.min_decode_tokens_per_s is None
            else {"min_decode": f"{budget.min_decode_tokens_per_s:g}"}
        ),
    }


def bytes_text(value: int) -> str:
    """Bytes as an option, exactly: in the largest unit that leaves a whole number.

    >>> bytes_text(60_000_000), bytes_text(314_572_800), bytes_text(1_234)
    ('60MB', '300MiB', '1234B')
    """
    for unit in ("GB", "GiB", "MB", "MiB", "KB", "KiB"):
        if value % parse_bytes(f"1{unit}") == 0:
            return f"{value // parse_bytes(f'1{unit}')}{unit}"
    return f"{value}B"
