"""State of the size page: the shape it starts from, what sliders changed of it, the estimate it asks for.

A field keeps the start's value until its slider is moved, so that a shape beyond the sliders (an odd hidden
size, 128 layers, another family) is shown exactly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from explorer.pages.size.controls import (
    ENDS,
    FFN,
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    LAYERS,
    REPEAT,
    SHARING,
    SLIDERS,
    SOURCE,
    TIED,
    VOCABULARY,
    WIDTH,
    ffn_field,
)
from explorer.state import Number, PageState, Values
from explorer.widgets.deployment import CACHE, CONTEXT, FORMAT, RUNTIME, format_of_runtime
from explorer.widgets.device_choice import ChosenDevice
from explorer.widgets.limits import LIMITS, limits_of
from explorer.widgets.model_source import COUNT, FIRST, start_of
from explorer.widgets.size_link import DEPLOYMENT, FROM_CATALOGUE, FROM_COUNT, MODEL, NAME, SHAPE, START
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import SizerError
from sizer.model_estimate import Estimate
from sizer.registry import models
from sizer.request import EstimateRequest
from sizer.runtimes import runtime

DEVICE_CHOICE = ChosenDevice()
# Fields of a shape that `sizer estimate` has an option for.
_OPTIONS = (
    *("num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "head_dim"),
    *("vocab_size", "tie_embeddings"),
)


def slider_values(start: Architecture) -> dict[str, Any]:
    """Return the sliders' values of a shape; a value beyond a slider's end becomes its end."""
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
        ENDS: a.sharing.ends,
    }
    return {control.key: _within(control, value) for control, value in numbers.items()} | {
        TIED.key: a.tie_embeddings,
        SHARING.key: a.sharing.strategy.value,
    }


def _within(control: Number[int], value: int) -> int:
    return min(max(value, control.low), control.high)


def _first_sliders(values: Values) -> dict[str, Any]:
    try:
        return slider_values(start_of(values))
    except SizerError:
        return slider_values(FIRST)


def _of_runtime(values: Values) -> dict[str, str]:
    """Return format, cache type, RAM and backend, by the usual ones where runtime or device lack them."""
    name, cache = values[RUNTIME.key], values[CACHE.key]
    known = runtime(name).cache_types
    return DEVICE_CHOICE.corrections(values) | {
        FORMAT.key: format_of_runtime(name, values[FORMAT.key]),
        CACHE.key: cache if cache in known else known[0],
    }


def _unused(values: Values) -> set[str]:
    """Return the keys of the sources that the page does not start from."""
    used = {FROM_CATALOGUE: {MODEL.key}, FROM_COUNT: {COUNT.key}}
    return {MODEL.key, COUNT.key, SHAPE.key, NAME.key} - used.get(values[START.key], {SHAPE.key, NAME.key})


STATE = PageState(
    prefix="",
    controls=(*SOURCE, *DEPLOYMENT, *LIMITS, *SLIDERS),
    firsts=_first_sliders,
    corrections=_of_runtime,
    unused=_unused,
)


def chosen_architecture(start: Architecture, values: Values) -> Architecture:
    """Return the start with the fields whose sliders were moved; InvalidArchitecture if they do not agree."""
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
    if any(values[key] != shown[key] for key in (SHARING.key, REPEAT.key, ENDS.key)):
        strategy = SharingStrategy(values[SHARING.key])
        repeat = 1 if strategy is SharingStrategy.NONE else values[REPEAT.key]
        ends = values[ENDS.key] if strategy is SharingStrategy.MIDDLE else 0
        moved["sharing"] = LayerSharing(strategy=strategy, repeat=repeat, ends=ends)
    return replace(start, **moved, name="custom") if replace(start, **moved) != start else start


def request_of(values: Values) -> EstimateRequest:
    """Return the estimate that the controls ask for; SizerError names a source or a shape that is wrong."""
    engine, context, cache = (values[c.key] for c in (RUNTIME, CONTEXT, CACHE))
    device, ram, backend = DEVICE_CHOICE.parts(values)
    return EstimateRequest(
        architecture=chosen_architecture(start_of(values), values),
        format=values[FORMAT.key],
        runtime=None if engine == RUNTIME.first else engine,
        device=device,
        ram=ram,
        backend=backend,
        context=None if context == CONTEXT.first else context,
        cache_type=None if cache == runtime(engine).cache_types[0] else cache.lower(),
        hypothetical=values[START.key] == FROM_COUNT,
    )


def violations_of(values: Values, sized: Estimate) -> tuple[str, ...] | None:
    """Return one text for each limit that the estimate breaks; None if no limit is typed."""
    typed = [values[control.key] for control in LIMITS]
    if not any(text.strip() for text in typed):
        return None
    return limits_of(*typed, has_device=sized.device is not None).violations(sized)


def shortest(request: EstimateRequest, values: Values) -> EstimateRequest:
    """Return the request with its shape as a parameter count or a known model with options, if it is one."""
    start, shape = start_of(values), request.architecture
    if values[START.key] == FROM_COUNT and shape == start:
        return request._replace(architecture=None, params=values[COUNT.key])
    known = models().get(start.name)
    if known is None or known.architecture != start:
        return request
    given = {f: getattr(shape, f) for f in _OPTIONS if getattr(shape, f) != getattr(start, f)}
    if shape is not None and shape.sharing != start.sharing:
        words = shape.sharing.to_dict()
        given |= {"sharing": words.pop("strategy"), **words}
    named = request._replace(architecture=None, model=start.name, **given)
    return named if named.chosen_architecture()[0] == shape else request
