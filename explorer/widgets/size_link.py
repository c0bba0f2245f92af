"""Links to the size page: its parameters for a model, and all of its deployment."""

from __future__ import annotations

from collections.abc import Mapping

from explorer.state import Choice, Text, from_text
from explorer.widgets.deployment import CACHE, CONTEXT, DEVICE, FORMAT, NO_DEVICE, RUNTIME
from explorer.widgets.device_choice import BACKEND, RAM, device_query
from sizer.architecture import Architecture
from sizer.devices.device import Device
from sizer.errors import InvalidQuantity, UnknownName
from sizer.registry import models
from sizer.runtimes import runtime
from sizer.shape_code import shape_code

FROM_CATALOGUE, FROM_COUNT, FROM_FILE, BY_HAND = (
    "a known model",
    "a parameter count",
    "a config or GGUF file",
    "by hand",
)
FIRST_MODEL = "SmolLM2-135M"
START = Choice("start", "Start from", FROM_CATALOGUE, (FROM_CATALOGUE, FROM_COUNT, FROM_FILE, BY_HAND))
MODEL = Choice("model", "Model", FIRST_MODEL, tuple(sorted(models(), key=str.lower)))
# the shape that the sliders start from, read from a file or from a link
SHAPE = Text("shape", "Shape", "")
NAME = Text("name", "Name", "")
DEPLOYMENT = (RUNTIME, FORMAT, DEVICE, RAM, BACKEND, CONTEXT, CACHE)

_LONGEST_NAME = 100


def size_query(
    architecture: Architecture,
    *,
    format: str,
    runtime: str = "llama.cpp",
    device: Device | str | None = None,
    context_tokens: int = CONTEXT.first,
    cache_type: str | None = None,
) -> dict[str, str]:
    """Return the parameters of an address that opens the size page on this model, but for first values.

    A catalogue model is written by its name, any other shape in full. InvalidQuantity names what the page
    cannot show, such as a device from a file: the link would show something else.
    """
    deployment = {
        RUNTIME.key: _engine(runtime),
        FORMAT.key: _format(runtime, format),
        **{control.key: str(control.first) for control in (RAM, BACKEND)},
        **device_query(_device(device)),
        CONTEXT.key: str(context_tokens),
        CACHE.key: _cache(runtime, cache_type),
    }
    for control in DEPLOYMENT:
        asked = deployment[control.key]
        if str(from_text(control, asked)) != asked:
            raise InvalidQuantity(f"{control.key}: the size page cannot show {asked!r}")
    firsts = {control.key: str(control.first) for control in (*DEPLOYMENT, MODEL)}
    parameters = _source(architecture) | deployment
    return {key: value for key, value in parameters.items() if value != firsts.get(key)}


def whole_query(query: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters with every one of the deployment, for a link from another page.

    A device that was chosen on a third page would otherwise take the place of one that goes without saying.
    """
    return {control.key: str(control.first) for control in DEPLOYMENT} | dict(query)


def model_query(query: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of an address of the page of sizes that name the model."""
    return {key: query[key] for key in (START.key, MODEL.key, SHAPE.key, NAME.key) if key in query}


def is_size_query(query: Mapping[str, object]) -> bool:
    """Return True for parameters of the page of sizes, which earlier versions had at the explorer's root."""
    return not query.keys().isdisjoint((START.key, MODEL.key, SHAPE.key, "count", "layers", "width"))


def _source(architecture: Architecture) -> dict[str, str]:
    known = models().get(architecture.name)
    if known is not None and known.architecture == architecture:
        return {MODEL.key: architecture.name}
    name = "".join(c for c in architecture.name if c.isprintable())[:_LONGEST_NAME]
    return {START.key: BY_HAND, SHAPE.key: shape_code(architecture)} | (
        {} if name == "custom" or not name else {NAME.key: name}
    )


def _engine(name: str) -> str:
    return runtime(name).name


def _format(engine: str, name: str) -> str:
    return runtime(engine).format_name(name)


def _device(device: Device | str | None) -> str:
    if device is None:
        return NO_DEVICE
    return device if isinstance(device, str) else device.name


def _cache(engine: str, cache_type: str | None) -> str:
    accepted = runtime(engine).cache_types
    if cache_type is None:
        return accepted[0]
    if cache_type not in accepted:
        raise UnknownName.of(f"{engine} cache type", cache_type, accepted)
    return cache_type
