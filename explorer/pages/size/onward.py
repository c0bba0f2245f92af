"""What follows from the figures of the size page: limits, widths that the format needs, pages to go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from explorer.pages.size.controls import FFN, WIDTH
from explorer.pages.size.state import violations_of
from explorer.widgets.device_choice import device_query
from explorer.widgets.limits import MAX_MEMORY, MAX_SIZE, MIN_DECODE
from explorer.widgets.onward import Way, show_ways
from explorer.widgets.size_link import model_query, size_query
from reports.text.wording import escape_markdown, format_bytes_typed
from sizer.advice import wasted_bits
from sizer.errors import SizerError

if TYPE_CHECKING:
    from explorer.state import Values
    from sizer.advice import WastedBits
    from sizer.model_estimate import Estimate

_SLIDERS = {"hidden_size": WIDTH, "intermediate_size": FFN, "moe_intermediate_size": FFN}


def show_verdict(sized: Estimate, values: Values) -> None:
    """Draw whether the limits are kept, and the nearest sizes that the format needs, each by one click."""
    if sized.weights is None:
        return
    try:
        broken = violations_of(values, sized)
    except SizerError as error:
        st.error(escape_markdown(str(error)))
        broken = None
    if broken:
        st.error(escape_markdown(f"Beyond the limits: {'; '.join(broken)}."))
    elif broken is not None:
        st.success("Within the limits.")
    for one in wasted_bits(sized):
        _show_nearest(one, sized)


def _show_nearest(one: WastedBits, sized: Estimate) -> None:
    slider, shown = _SLIDERS[one.field], one.label[0].upper() + one.label[1:]
    row = st.container(horizontal=True, vertical_alignment="center", key=f"nearest_{one.field}")
    row.markdown(
        f"{shown} {one.value:,} does not fill the blocks of {sized.format}, which falls back to wider types: "
        f"{sized.bits_per_weight:.2f} bits per weight."
    )
    for size, bits in one.better:
        if slider.low <= size <= slider.high:
            row.button(
                f"{size:,}: {bits:.2f} bits",
                key=f"nearest_{one.field}_{size}",
                on_click=_set,
                args=(slider.key, size),
            )


def _set(key: str, value: int) -> None:
    st.session_state[key] = value


def show_ways_onward(sized: Estimate, values: Values) -> None:
    """Draw links to what a person does next with this model, device and budget."""
    if sized.weights is None:
        return
    device = sized.device
    deployed = {"engine": sized.runtime, "context": str(sized.workload.context_tokens)}
    if device is not None:
        deployed |= device_query(device.name)
    try:
        query = size_query(sized.architecture, format=sized.format, runtime=sized.runtime, device=device)
    except SizerError:  # a device or shape that no address holds
        query = {}
    model = query.get("model") or (f"shape:{query['shape']}" if "shape" in query else "SmolLM2-135M")
    limit = values[MAX_SIZE.key].strip() or format_bytes_typed(sized.file.total)
    budget = {
        "max_size": limit,
        "max_memory": values[MAX_MEMORY.key],
        "min_decode": values[MIN_DECODE.key],
        "formats": sized.format,
    }
    st.subheader("What next", divider="gray")
    show_ways(
        Way("design", "Find the best of this size", {**deployed, **budget}),
        Way("compare", "Compare with other models", {**deployed, "models": _first(model)}),
        Way("users", "Will it run for my users?", {**model_query(query), "context": deployed["context"]}),
    )


def _first(model: str) -> str:
    """Return the models to compare as an address has them: this one before two of the usual ones."""
    others = [name for name in ("SmolLM2-135M", "Qwen2.5-0.5B") if name != model]
    return ",".join((model, *others))
