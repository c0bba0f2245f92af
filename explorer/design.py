"""The page "Design": a budget in; every shape it allows, the best by what is published, where to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.controls import choice, number, take_address, write_address
from explorer.design_inputs import (
    AXIS,
    CONTROLS,
    KEYS,
    LEAST,
    MOST,
    PICK,
    designed,
    draw_inputs,
    keep_to_engine,
    pick_code,
    picked_row,
    query_of,
    same_size,
    search_command,
    search_link,
)
from explorer.link import size_link, size_query
from explorer.panels import show_headline
from reports.design_figures import AXES, density_figure, density_info
from reports.design_frames import best_style, design_frame
from reports.figures import FIGURE_CONFIG
from reports.same_size_figures import same_size_figure, same_size_info
from reports.wording import above_text, outside_ranges, plain, shape_text
from sizer.errors import NoFit, SizerError

if TYPE_CHECKING:
    from search.space.design import Design

_BEST = 10
_CLICKED, _SELECTED = f"{KEYS}clicked", f"{KEYS}selected"

_LAW = """
**What “expected loss” is.** Slopes of the loss over depth, width, ratios and bits, fitted to 63 published
models of 125M to 13B weights (MobileLLM, ParetoQ, LLaMA) and to nothing trained here. They say by what
share one shape's loss is above another's where both are trained alike, not what the loss is; 80 % between
the ends of a range. Two tables of models that they have not seen put models of one size in the same order
in 8 to 9 of 10 pairs, with differences half to two thirds as large. Nothing is known of shapes outside of
what the slopes were fitted to; a search trains models and finds out.
"""


def page() -> None:
    """Draw the page."""
    take_address(CONTROLS, KEYS)
    keep_to_engine()
    with st.sidebar:
        draw_inputs()
    st.header("Design")
    try:
        query = query_of({control.key: st.session_state[control.key] for control in CONTROLS})
        found = designed(query)
    except NoFit as error:
        st.warning(plain(str(error)))
        st.caption("Give more room on the left: a larger file, more memory, a lower speed or fewer bits.")
    except SizerError as error:
        st.error(plain(str(error)))
    else:
        _show(found)
    write_address(CONTROLS, KEYS)


def _show(found: Design) -> None:
    _show_counts(found)
    axis = _draw_filters(found)
    layers = found.feasible.shapes.grid.num_layers
    least, most = st.session_state[LEAST.key], st.session_state[MOST.key]
    filtered = (least, most) != (LEAST.first, MOST.first)
    rows = (layers >= least) & (layers <= most) if filtered else None
    best = found.best(_BEST, rows=rows)
    if not best:
        st.info(f"No shape within the budget has {least} to {most} layers.")
        return
    _take_clicks(found, best)
    picked = picked_row(found, st.session_state[PICK.key])
    density = density_info(found, axis=axis, best=best, picked=picked, rows=rows)
    st.plotly_chart(
        density_figure(density),
        key=f"{KEYS}density",
        on_select="rerun",
        selection_mode="points",
        config=FIGURE_CONFIG,
        alt=f"{density.title} by {density.axis.title} and expected loss, the best {len(best)} marked",
    )
    st.caption(density.subtitle)
    _show_best(found, best)
    _show_picked(found, best[0] if picked is None else picked)
    _show_same_size(found)
    with st.expander("What the expected loss rests on"):
        st.markdown(_LAW)


def _show_counts(found: Design) -> None:
    query, shapes = found.query, found.feasible.shapes
    refused = [f"{count:,} by {name}" for name, count in found.broken.items() if count]
    st.caption(
        f"{found.tried:,} shapes sized in {', '.join(query.formats)} on {query.runtime}, "
        f"{query.context_tokens:,} tokens of context; {len(shapes):,} are within the budget"
        + (f"; refused {', '.join(refused)}{' (some by several)' * (len(refused) > 1)}" if refused else "")
    )
    if not query.by_grid:
        st.caption(
            f"Only llama.cpp's shapes are sized by the hundred thousand; {query.runtime}'s one by one."
        )
    if query.budget.min_decode_tokens_per_s is not None and shapes.decode_tokens_per_s is None:
        st.warning("Nothing is known of this device's speed with this engine: no shape is refused for it.")


def _draw_filters(found: Design) -> str:
    columns = st.columns([2, 1, 1, 3])
    with columns[0]:
        known = [n for n in AXES if n != "decode" or found.feasible.shapes.decode_tokens_per_s is not None]
        if st.session_state[AXIS.key] not in known:
            st.session_state[AXIS.key] = "file"
        axis = choice(AXIS, among=known, format_func=lambda name: AXES[name].title)
    with columns[1]:
        number(LEAST)
    with columns[2]:
        number(MOST)
    return axis


def _take_clicks(found: Design, best: tuple[int, ...]) -> None:
    """A click on a mark, or on a line of the table, chooses that shape; each counts once."""
    state = st.session_state
    event: Any = state.get(f"{KEYS}density")
    points = event["selection"]["points"] if event else []
    rows = [_row(point.get("customdata")) for point in points if point.get("customdata") is not None]
    clicked = rows[0] if rows else None
    if clicked is not None and clicked != state.get(_CLICKED) and clicked < len(found.feasible.shapes):
        state[PICK.key] = pick_code(found.architecture(clicked), found.format(clicked))
    state[_CLICKED] = clicked
    table: Any = state.get(f"{KEYS}best")
    lines = table["selection"]["rows"] if table else []
    line = lines[0] if lines and lines[0] < len(best) else None
    if line is not None and line != state.get(_SELECTED):
        state[PICK.key] = pick_code(found.architecture(best[line]), found.format(best[line]))
    state[_SELECTED] = line


def _row(customdata: object) -> int | None:
    """A mark's row: plotly.js hands one value back bare or in a list."""
    value = customdata[0] if isinstance(customdata, list) and customdata else customdata
    return value if isinstance(value, int) else None


def _show_best(found: Design, best: tuple[int, ...]) -> None:
    st.subheader("The best", divider="gray")
    st.dataframe(best_style(found, best), key=f"{KEYS}best", on_select="rerun", selection_mode="single-row")
    st.caption(
        "Of nearly one depth and width only the best; a range that reaches 0 or below may be as good as the "
        "first. Choose a line, or a mark above, to see all about it."
    )
    st.download_button(
        "CSV", design_frame(found, best).to_csv(index=False), "design.csv", "text/csv", key=f"{KEYS}csv"
    )


def _show_picked(found: Design, row: int) -> None:
    sized, ranked = found.estimate(row), found.feasible
    a = sized.architecture
    st.subheader(f"{shape_text(a)}, {sized.format}", divider="gray")
    st.markdown(
        f"**Expected loss: {above_text(ranked.above[row], ranked.low[row], ranked.high[row])}** "
        f"against the best of the budget; feed-forward width {a.intermediate_size:,}, heads {a.head_dim} wide"
    )
    if beyond := outside_ranges(ranked.outside_of(row)):
        st.warning(
            f"Outside of the models that the expected loss rests on: {beyond}. It may be far off here."
        )
    show_headline(sized)
    query = size_query(
        a,
        format=sized.format,
        runtime=sized.runtime,
        device=sized.device,
        context_tokens=sized.memory.context_tokens,
    )
    row_of_links = st.container(horizontal=True)
    row_of_links.link_button("Open on Size", size_link(query))
    row_of_links.link_button("Search this budget", search_link(found.query, sized.file.total))
    st.code(search_command(found.query, sized.file.total), language="sh")


def _show_same_size(found: Design) -> None:
    st.subheader("Deep or wide", divider="gray")
    curves = [(name, same_size(found.query, name)) for name in found.query.formats]
    info = same_size_info(found, curves)
    if not info.curves:
        st.info("No shapes come near one size: the steps between shapes are too large in so small a file.")
        return
    st.plotly_chart(
        same_size_figure(info),
        key=f"{KEYS}same_size",
        config=FIGURE_CONFIG,
        alt=f"{info.title}: expected loss, decoding speed and file over depth",
    )
    st.caption(info.subtitle)


page()
