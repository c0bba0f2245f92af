"""The size page's state: the shape it starts from, what sliders move of it, where it runs.

A field keeps what the start says until its slider is moved, so that a shape which the sliders cannot say (an
odd width, 128 layers, another family) is shown exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from explorer.controls import Control, Number, from_text
from explorer.size_controls import (
    CACHE,
    CONTEXT,
    COUNT,
    DEPLOYMENT,
    DEVICE,
    ENGINE,
    FFN,
    FIRST,
    FORMAT,
    FROM_CATALOGUE,
    FROM_COUNT,
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
    SLIDERS,
    SOURCE,
    START,
    TIED,
    VOCABULARY,
    WIDTH,
    ffn_field,
)
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.device import device
from sizer.errors import InvalidQuantity, SizerError
from sizer.registry import model
from sizer.runtimes import runtime
from sizer.runtimes.base import Runtime
from sizer.shape_code import architecture_of_code
from sizer.solve import architecture_near
from sizer.units import parse_count
from sizer.workload import Workload

Values = Mapping[str, Any]  # by the keys of the controls


def values_of(query: Mapping[str, str]) -> dict[str, Any]:
    """A value for every control from the parameters of an address; what one could not hold is left out."""
    values = {control.key: from_text(control, query.get(control.key)) for control in (*SOURCE, *DEPLOYMENT)}
    values |= deployment_of(str(values[ENGINE.key]), values)
    try:
        firsts = slider_values(start_of(values))
    except SizerError:
        firsts = slider_values(FIRST)
    for control in SLIDERS:
        first: Any = control._replace(first=firsts[control.key])
        values[control.key] = from_text(first, query.get(control.key))
    return values


def query_of(values: Values) -> dict[str, str]:
    """Parameters of an address that `values_of` reads to these values, as few as will do."""
    start = values[START.key]
    told: list[Control] = [START, *DEPLOYMENT]
    if start == FROM_CATALOGUE:
        told.append(MODEL)
    elif start == FROM_COUNT:
        told.append(COUNT)
    else:
        told += [SHAPE, NAME]
    query = {c.key: str(values[c.key]) for c in told if values[c.key] != c.first}
    try:
        firsts = slider_values(start_of(values))
    except SizerError:
        firsts = slider_values(FIRST)
    return query | {c.key: str(values[c.key]) for c in SLIDERS if values[c.key] != firsts[c.key]}


def start_of(values: Values) -> Architecture:
    """The shape that the sliders start from; SizerError says what is wrong with a count or a link's shape."""
    start = values[START.key]
    if start == FROM_CATALOGUE:
        return model(values[MODEL.key]).architecture
    if start == FROM_COUNT:
        return _near(values[COUNT.key])
    if values[SHAPE.key]:
        return architecture_of_code(values[SHAPE.key], values[NAME.key] or "custom")
    return replace(FIRST, name="custom")


# every run of the page asks for it, and looking takes ten milliseconds
@lru_cache(maxsize=64)
def _near(count: str) -> Architecture:
    return architecture_near(parse_count(count, "parameters"))


def slider_values(start: Architecture) -> dict[str, Any]:
    """What the sliders show of a shape: its values, those beyond a slider's ends at its end."""
    a = start
    numbers = {
        LAYERS: a.num_layers,
        WIDTH: a.hidden_size,
        FFN: getattr(a, ffn_field(a)),
        HEADS: a.num_heads,
        KV_HEADS: a.num_kv_heads,
        HEAD_DIM: a.head_dim,
        VOCABULARY: a.vocab_size,
        REPEAT: a.sharing.repeat,
    }
    return {control.key: _within(control, value) for control, value in numbers.items()} | {
        TIED.key: a.tie_embeddings,
        SHARING.key: a.sharing.strategy.value,
    }


def _within(control: Number, value: int) -> int:
    return min(max(value, control.low), control.high)


def chosen_architecture(start: Architecture, values: Values) -> Architecture:
    """The start with the fields whose sliders were moved; InvalidArchitecture if they do not go together."""
    shown = slider_values(start)
    fields = {
        LAYERS.key: "num_layers",
        WIDTH.key: "hidden_size",
        FFN.key: ffn_field(start),
        HEADS.key: "num_heads",
        KV_HEADS.key: "num_kv_heads",
        HEAD_DIM.key: "head_dim",
        VOCABULARY.key: "vocab_size",
        TIED.key: "tie_embeddings",
    }
    moved: dict[str, Any] = {f: values[key] for key, f in fields.items() if values[key] != shown[key]}
    if any(values[key] != shown[key] for key in (SHARING.key, REPEAT.key)):
        strategy = SharingStrategy(values[SHARING.key])
        repeat = 1 if strategy is SharingStrategy.NONE else values[REPEAT.key]
        moved["sharing"] = LayerSharing(strategy=strategy, repeat=repeat)
    return replace(start, **moved, name="custom") if replace(start, **moved) != start else start


def deployment_of(engine_name: str, values: Values) -> dict[str, str]:
    """Format and cache as they are set, or the engine's usual ones where it does not have these."""
    engine = runtime(engine_name)
    format_name, cache = values[FORMAT.key], values[CACHE.key]
    return {
        FORMAT.key: format_name if format_name in engine.formats else usual_format(engine),
        CACHE.key: cache if cache in engine.cache_types else engine.cache_types[0],
    }


def usual_format(engine: Runtime) -> str:
    """What the engine's users mean by 4 bits, or by the most bits below."""
    for bits in (4, 3, 2):
        try:
            return engine.format_for_bits(bits)
        except InvalidQuantity:
            continue
    return engine.formats[0]


def estimate_inputs(values: Values) -> dict[str, Any]:
    """Format, runtime, workload and device as keyword arguments of sizer.estimate."""
    return {
        "format": values[FORMAT.key],
        "runtime": values[ENGINE.key],
        "workload": Workload.within(values[CONTEXT.key], values[CACHE.key]),
        "device": None if values[DEVICE.key] == NO_DEVICE else device(values[DEVICE.key]),
    }
