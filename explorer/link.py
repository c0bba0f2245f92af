"""Links to the size page: an architecture and where it runs, as the parameters of the page's address."""

from __future__ import annotations

from urllib.parse import urlencode

from explorer.controls import from_text
from explorer.size_controls import (
    BY_HAND,
    CACHE,
    CONTEXT,
    DEPLOYMENT,
    DEVICE,
    ENGINE,
    FORMAT,
    MODEL,
    NAME,
    NO_DEVICE,
    SHAPE,
    START,
)
from sizer.architecture import Architecture
from sizer.device import Device
from sizer.errors import InvalidQuantity, UnknownName
from sizer.registry import models
from sizer.runtimes import runtime
from sizer.shape_code import shape_code

# the page that opens first has the explorer's root as its address, whatever its url_path says
SIZE_PATH = "/"
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
    """Parameters of an address that opens the size page on this model, for `st.page_link` and `size_link`.

    A model of the catalogue goes by its name, any other shape in full. What the page cannot hold (a device
    from a file, a format that the runtime does not have) is an error: the link would show something else.
    """
    deployment = {
        ENGINE.key: _engine(runtime),
        FORMAT.key: _format(runtime, format),
        DEVICE.key: _device(device),
        CONTEXT.key: str(context_tokens),
        CACHE.key: _cache(runtime, cache_type),
    }
    for control in DEPLOYMENT:
        asked = deployment[control.key]
        if str(from_text(control, asked)) != asked:
            raise InvalidQuantity(f"{control.key}: the size page cannot show {asked!r}")
    firsts = {control.key: str(control.first) for control in (*DEPLOYMENT, MODEL)}
    told = _source(architecture) | deployment
    return {key: value for key, value in told.items() if value != firsts.get(key)}


def size_link(query: dict[str, str]) -> str:
    """The address of the size page with these parameters, from the explorer's root."""
    return f"{SIZE_PATH}?{urlencode(query)}" if query else SIZE_PATH


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
