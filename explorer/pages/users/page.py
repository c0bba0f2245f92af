"""The page "Users": on which share of the users' devices a model fits, is fast enough, and loads when."""

from __future__ import annotations

import streamlit as st

from explorer.pages.users.inputs import (
    CONTEXT,
    LINE,
    RATE,
    STATE,
    draw_inputs,
    reached,
    users_of,
)
from explorer.widgets.html import show_table, show_tiles
from explorer.widgets.model_source import start_of
from explorer.widgets.onward import Way, show_ways
from explorer.widgets.size_link import size_query, whole_query
from reports.html.tiles import Tile
from reports.tables.users import DEVICE_COLUMNS, columns, device_rows, runtime_rows, share_text, users_csv
from reports.text.wording import count_text, escape_markdown, shape_text
from sizer.audience import Reach
from sizer.errors import SizerError
from sizer.tensors import count_parameters, tensor_specs
from sizer.units import format_bytes, format_seconds


def page() -> None:
    """Draw the page."""
    STATE.load()
    with st.sidebar:
        draw_inputs()
    st.header("Will it run for my users?")
    values = STATE.values()
    try:
        model = start_of({key.removeprefix(STATE.prefix): value for key, value in values.items()})
        users = users_of(values)
        found = reached(model, users, values)
    except SizerError as error:
        st.error(escape_markdown(str(error)))
    else:
        count = count_parameters(tensor_specs(model)).total
        st.caption(f"{escape_markdown(model.name)}: {shape_text(model)}, {count_text(count)} parameters")
        _show(found, values[RATE.key], values[LINE.key])
        best = _best(found, values[RATE.key])
        if best is not None:
            query = size_query(
                model,
                format=best.format,
                runtime=best.runtime,
                device=best.estimates[0].device,
                context_tokens=values[CONTEXT.key],
            )
            show_ways(
                Way("size", "Size it on one device", whole_query(query)),
                Way("design", "Find a better shape", {"engine": best.runtime}),
                Way(
                    "compare", "Compare models", {"models": query.get("model", f"shape:{query.get('shape')}")}
                ),
            )
    STATE.save()


def _best(found: list[Reach], rate: float) -> Reach | None:
    """Return the runtime that reaches the most users at that speed, and loads soonest among equals."""
    known = [one for one in found if one.estimates]
    key = lambda one: (-(one.is_fast(rate) or 0), one.download_bytes() or 0)  # noqa: E731
    return min(known, key=key) if known else None


def _show(found: list[Reach], rate: float, line: float) -> None:
    best = _best(found, rate)
    if best is None:
        st.warning("None of these runtimes runs this model.")
        show_ways(
            Way("size", "Size a model", {"context": str(st.session_state[CONTEXT.key])}),
            Way("design", "Find a better shape"),
        )
    else:
        show_tiles(_tiles(best, rate, line))
    st.subheader("By runtime", divider="gray")
    show_table(columns(rate, line), runtime_rows(found, rate, line), text_columns=("format",))
    for one in found:
        if one.reason:
            st.caption(escape_markdown(f"{one.runtime}: {one.reason}"))
    if best is not None:
        st.subheader(f"By device, {best.runtime}", divider="gray")
        show_table(DEVICE_COLUMNS, device_rows(best), text_columns=("fits",))
        st.download_button(
            "CSV",
            users_csv(found),
            "users.csv",
            "text/csv",
            help="Every runtime on every device.",
            key="users_csv",
        )
    st.caption(
        "The devices and their shares are a stated default, equal shares of ten mid-range phones and "
        "laptops, until you change them on the left: they are nobody's measured audience. Speeds are those "
        "at full context with 80 % ranges; “surely” counts the low end of the range. Not among them: wllama "
        "(llama.cpp in WebAssembly) and LiteRT-LM's web version, of which no published speeds are known."
    )


def _tiles(best: Reach, rate: float, line: float) -> list[Tile]:
    size, wait, load = best.download_bytes(), best.download_s(line), best.load_s()
    fast, surely = best.is_fast(rate), best.is_fast(rate, surely=True)
    unknown = best.speed_unknown()
    return [
        Tile("It fits for", share_text(best.fits()), f"of the users, with {best.runtime} {best.format}"),
        Tile(
            f"At least {rate:g} tokens/s for",
            share_text(fast),
            f"surely for {share_text(surely)}"
            + (f"; not known for {share_text(unknown)}" if unknown else ""),
        ),
        Tile(
            "First download",
            "-" if size is None else format_bytes(size),
            "" if wait is None else f"{format_seconds(wait)} at {line:g} Mbit/s; weights, tokenizer, runtime",
        ),
        Tile(
            "Then ready in",
            "-" if load is None else format_seconds(load.value),
            "" if load is None else f"up to {format_seconds(load.high)}, from the file on the median device",
        ),
    ]


page()
