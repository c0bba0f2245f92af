"""The model that a page starts from: of the catalogue, near a count, or a shape from a file or a link."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from explorer.state import Text, Values
from explorer.widgets.deployment import FORMAT, RUNTIME
from explorer.widgets.size_link import FIRST_MODEL, FROM_CATALOGUE, FROM_COUNT, MODEL, NAME, SHAPE, START
from sizer.architecture import Architecture
from sizer.registry import model
from sizer.runtimes import runtime
from sizer.shape_code import architecture_of_code
from sizer.shapes.format_widths import row_multiple
from sizer.shapes.near_count import architecture_near
from sizer.units import parse_count

FIRST = model(FIRST_MODEL).architecture
COUNT = Text(
    "count",
    "Parameters to start near",
    "125M",
    "A number with K, M or B; the nearest deep and thin shape with a vocabulary of 32,000 is taken, of sizes "
    "that the format needs.",
)


def start_of(values: Values) -> Architecture:
    """Return the shape that the sliders start from; SizerError names a bad count or a link's bad shape."""
    start = values[START.key]
    if start == FROM_CATALOGUE:
        return model(values[MODEL.key]).architecture
    if start == FROM_COUNT:
        return _near(
            values[COUNT.key], values.get(RUNTIME.key, RUNTIME.first), values.get(FORMAT.key, FORMAT.first)
        )
    if values[SHAPE.key]:
        return architecture_of_code(values[SHAPE.key], values[NAME.key] or "custom")
    return replace(FIRST, name="custom")


# every run of the page calls it, and a search for a shape takes ten milliseconds
@lru_cache(maxsize=64)
def _near(count: str, runtime_name: str, format_name: str) -> Architecture:
    """Return the shape that `sizer estimate --params` gives: of sizes that the format needs."""
    known = format_name in runtime(runtime_name).formats
    multiple = row_multiple(runtime_name, format_name) if known else 1
    return architecture_near(parse_count(count, "parameters"), multiple=multiple)
