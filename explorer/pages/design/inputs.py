"""Controls of the design page, the query that they ask for, and a cache of its answers."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.state import Choice, Choices, Flag, Number, PageState, Text, Values
from explorer.widgets import deployment, limits
from explorer.widgets.controls import choice, choices, flag, number, text
from explorer.widgets.deployment import usual_format
from explorer.widgets.device_choice import device_choice, device_query
from explorer.widgets.limits import draw_limits, limits_of
from reports.figures.design import AXES
from reports.figures.same_size import FORMAT_COLOURS
from search.config.config import SearchConfig
from search.config.options import words_of
from search.config.usual_space import tokenizer_for, usual_space
from search.space.design import Design, design, lattice_query, tried_shapes
from search.space.shape_grid import MOST_DEPTH, ShapeDims
from search.space.sized_shapes import DesignQuery, Rank
from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.quality.accuracy import corpora
from sizer.runtimes import runtime
from sizer.units import parse_bytes, parse_count

if TYPE_CHECKING:
    from search.space.design import Ranked
    from search.space.sized_shapes import SizedShapes

KEYS = "design_"

DEVICE = device_choice(KEYS)
MAX_SIZE = limits.MAX_SIZE._replace(key=f"{KEYS}max_size", first="60MB")
MAX_MEMORY = limits.MAX_MEMORY._replace(key=f"{KEYS}max_memory")
MIN_DECODE = limits.MIN_DECODE._replace(key=f"{KEYS}min_decode")
RUNTIME = deployment.RUNTIME._replace(key=f"{KEYS}engine")
FORMATS = Choices(
    f"{KEYS}formats",
    "Formats",
    ("Q4_0", "Q4_K_M", "Q5_0", "Q8_0"),
    deployment.FORMATS,
    "Each is tried with every shape.",
)
CONTEXT = deployment.CONTEXT._replace(key=f"{KEYS}context")
VOCABULARY = Text(f"{KEYS}vocabulary", "Vocabulary", "32000", "Rows of the embedding table.")
TIED = Flag(f"{KEYS}tied", "Embedding tied to the head", True)
RANK = Choice(
    f"{KEYS}rank",
    "Rank by",
    Rank.QUALITY.value,
    tuple(rank.value for rank in Rank),
    "quality: loss after the training below; law: loss for equal training.",
)
TOKENS = Text(f"{KEYS}tokens", "Training tokens", "1T", "Such as 1T; 20 a weight are shown as well.")
CORPUS = Choice(f"{KEYS}corpus", "Corpus", "", ("", *sorted(corpora())), "Without one, ranges are wider.")
AXIS = Choice(f"{KEYS}axis", "Against", "decode", tuple(AXES))
LEAST = Number(f"{KEYS}least", "Layers, at least", 1, 1, MOST_DEPTH, 1)
MOST = Number(f"{KEYS}most", "at most", MOST_DEPTH, 1, MOST_DEPTH, 1)
PICK = Text(f"{KEYS}pick", "Chosen", "")

# one for each colour
MOST_FORMATS = len(FORMAT_COLOURS)
_MOST_VOCABULARY = 1_000_000


def _corrections(values: Values) -> dict[str, Any]:
    """Return the formats that the runtime has, or its usual one, and the RAM and backend of the device."""
    name = values[RUNTIME.key]
    known = [f for f in values[FORMATS.key] if f in runtime(name).formats][:MOST_FORMATS]
    return DEVICE.corrections(values) | {FORMATS.key: known or [usual_format(name)]}


STATE = PageState(
    prefix=KEYS,
    controls=(
        *DEVICE.controls,
        *(MAX_SIZE, MAX_MEMORY, MIN_DECODE, RUNTIME, FORMATS, CONTEXT, VOCABULARY, TIED),
        *(RANK, TOKENS, CORPUS, AXIS, LEAST, MOST, PICK),
    ),
    corrections=_corrections,
)


def draw_inputs() -> None:
    """Draw the budget and the deployment."""
    st.subheader("Limits", divider="gray")
    DEVICE.draw()
    draw_limits(MAX_SIZE, MAX_MEMORY, MIN_DECODE)
    st.subheader("Deploy", divider="gray")
    known = runtime(choice(RUNTIME))
    choices(FORMATS, among=known.formats, max_selections=MOST_FORMATS)
    left, right = st.columns(2)
    with left:
        number(CONTEXT)
    with right:
        text(VOCABULARY)
    flag(TIED)
    st.subheader("Train", divider="gray")
    if choice(RANK) == Rank.QUALITY:
        left, right = st.columns(2)
        with left:
            text(TOKENS)
        with right:
            choice(CORPUS, format_func=lambda name: name or "not said")


def query_of(values: Values) -> DesignQuery:
    """Return the query of the controls' values; InvalidQuantity names a text that cannot be read."""
    vocabulary = parse_count(values[VOCABULARY.key].strip(), "vocabulary")
    if not 2 <= vocabulary <= _MOST_VOCABULARY:
        raise InvalidQuantity(
            f"vocabulary: must be from 2 to {_MOST_VOCABULARY:,}, got {values[VOCABULARY.key].strip()!r}"
        )
    device = DEVICE.name(values)
    return DesignQuery(
        budget=limits_of(
            *(values[limit.key] for limit in (MAX_SIZE, MAX_MEMORY, MIN_DECODE)),
            has_device=device is not None,
        ),
        formats=tuple(values[FORMATS.key]),
        runtime=values[RUNTIME.key],
        device=device,
        context_tokens=values[CONTEXT.key],
        vocab_size=vocabulary,
        tie_embeddings=values[TIED.key],
        rank=Rank(values[RANK.key]),
        training_tokens=float(parse_count(values[TOKENS.key].strip(), "training tokens")),
    )


# shared, not copied: answers are frozen, and copying a hundred thousand rows takes as long as filtering them
@st.cache_resource(max_entries=16, show_spinner=False)
def designed(query: DesignQuery) -> Design:
    """Return the answer to a query."""
    return design(query, tried=sized_shapes(query))


def sized_shapes(query: DesignQuery) -> SizedShapes:
    """Return the shapes that a query is answered from."""
    return _tried(lattice_query(query))


@st.cache_resource(max_entries=4, show_spinner=False)
def _tried(query: DesignQuery) -> SizedShapes:
    """Return the shapes of one max file size, sized once for every limit on memory and speed."""
    return tried_shapes(query)


@st.cache_resource(max_entries=64, show_spinner=False)
def same_size(query: DesignQuery, format: str) -> Ranked:
    """Return shapes of one size in a format, compared with the best of the query."""
    return designed(query).same_size(format)


_PICK = re.compile(r"(\w+)x(\d{1,6})x(\d{1,6})x(\d{1,6})x(\d{1,6})x(\d{1,6})x(\d{1,6})", re.ASCII)


def pick_code(architecture: Architecture, format: str) -> str:
    """Return a shape of the grid as the page's address writes it."""
    return "x".join(
        (format, str(architecture.num_layers), *(str(getattr(architecture, n)) for n in ShapeDims._fields))
    )


def picked_row(found: Design, code: str) -> int | None:
    """Return the row of the feasible shape that an address names; None if it names no such shape."""
    read = _PICK.fullmatch(code)
    if read is None:
        return None
    sizes: dict[str, Any] = dict(
        zip(("num_layers", *ShapeDims._fields), map(int, read.groups()[1:]), strict=True)
    )
    try:
        architecture = replace(found.architecture(found.best_row), **sizes)
    except InvalidArchitecture:
        return None
    return found.row_of(architecture, read[1])


def search_command(query: DesignQuery, file_bytes: int) -> str:
    """Return the command of a search within this budget: the one that the search page starts for it."""
    limits = _search_options(query, file_bytes)
    deployed = {"runtime": query.runtime, "context_tokens": query.context_tokens}
    fields = {
        **usual_space(parse_bytes(limits["max_size"])),
        **deployed,
        "formats": query.formats,
        "vocab_size": (query.vocab_size,),
    }
    fields |= tokenizer_for(fields)
    usual = SearchConfig().to_dict()
    asked = {k: v for k, v in fields.items() if (list(v) if isinstance(v, tuple) else v) != usual[k]}
    budget = [word for name, value in limits.items() for word in (f"--{name.replace('_', '-')}", value)]
    return shlex.join(["sizer", "search", "run", *budget, *words_of(asked)])


def search_query(query: DesignQuery, file_bytes: int) -> dict[str, str]:
    """Return the parameters of the search page for this budget and deployment."""
    return {**_search_options(query, file_bytes), **device_query(query.device)} | {
        "engine": query.runtime,
        "context": str(query.context_tokens),
        "formats": ",".join(query.formats),
        "vocab_size": str(query.vocab_size),
    }


def _search_options(query: DesignQuery, file_bytes: int) -> dict[str, str]:
    """Return options of a search; without a max file size, the chosen shape's file is the limit."""
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
    """Return bytes as an exact option, in the largest unit that leaves a whole number.

    >>> bytes_text(60_000_000), bytes_text(314_572_800), bytes_text(1_234)
    ('60MB', '300MiB', '1234B')
    """
    for unit in ("GB", "GiB", "MB", "MiB", "KB", "KiB"):
        if value % parse_bytes(f"1{unit}") == 0:
            return f"{value // parse_bytes(f'1{unit}')}{unit}"
    return f"{value}B"
