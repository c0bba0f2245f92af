"""The page "Design": every shape within a budget, ranked by the loss that published models let expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.pages.design.inputs import (
    AXIS,
    CORPUS,
    KEYS,
    LEAST,
    MOST,
    PICK,
    STATE,
    designed,
    draw_inputs,
    pick_code,
    picked_row,
    query_of,
    same_size,
    search_command,
    search_query,
    sized_shapes,
)
from explorer.widgets.controls import choice, number
from explorer.widgets.estimate_widgets import show_headline
from explorer.widgets.export import show_shape_export
from explorer.widgets.onward import Way, show_ways
from explorer.widgets.size_link import model_query, size_query, whole_query
from reports.figures import FIGURE_CONFIG
from reports.figures.design import AXES, density_figure, density_info
from reports.figures.same_size import same_size_figure, same_size_info
from reports.tables.design import best_style, design_frame
from reports.text.wording import above_text, escape_markdown, outside_ranges, shape_text
from search.space.sized_shapes import Rank
from sizer.errors import NoFit, SizerError
from sizer.quality.lengths import USUAL_TOKENS_PER_WEIGHT
from sizer.quality.prediction import estimated_quality
from sizer.units import format_count

if TYPE_CHECKING:
    from search.space.design import Design
    from search.space.sized_shapes import DesignQuery

_BEST = 10
_CLICKED, _SELECTED = f"{KEYS}clicked", f"{KEYS}selected"
# Session key: the query that was answered last.
_ANSWERED = f"{KEYS}answered"

_LAW = """
**Expected loss.** Slopes of the loss over depth, hidden size, ratios and bits, fitted to 63 published models
of 125M to 13B weights (MobileLLM, ParetoQ, LLaMA) and to nothing trained here. They give the relative
difference of two shapes' losses at equal training, not the loss itself; ranges are 80 % ranges. Two tables of
models that were not in the fit rank models of one size in the same order in 8 to 9 of 10 pairs, with
differences half to two thirds as large. Shapes outside of the fitted ranges are extrapolated; a search trains
models and measures them.
"""

_QUALITY = """
**Expected loss.** The loss after the training asked for, by a law over weights outside the embedding, tokens,
width / depth, head width, FFN and attention, and bits, that published tables of models agree on
(docs/quality.md). It is compared with the best shape's; ranges are 80 % ranges of the difference.
"""


def page() -> None:
    """Draw the page."""
    STATE.load()
    with st.sidebar:
        draw_inputs()
    st.header("Design")
    try:
        query = query_of(STATE.values())
        found = _answer(query)
    except NoFit as error:
        st.warning(escape_markdown(str(error)))
        st.caption(
            "Relax a limit on the left: a larger file, more memory or a lower speed; or choose fewer bits or "
            "a smaller vocabulary."
        )
        _show_other_ways()
    except SizerError as error:
        st.error(escape_markdown(str(error)))
        _show_other_ways()
    else:
        _show(found)
    STATE.save()


def _answer(query: DesignQuery) -> Design:
    """Return the answer to a query; show at once that another is sized: Streamlit waits half a second."""
    if st.session_state.get(_ANSWERED) == query:
        return designed(query)
    place = st.empty()
    place.progress(0.0, "Sizing every shape")
    try:
        tried = sized_shapes(query)
        place.progress(0.7, f"Ranking {len(tried):,} shapes")
        found = designed(query)
    finally:
        place.empty()
    st.session_state[_ANSWERED] = query
    return found


def _show_other_ways() -> None:
    """Draw links to pages that have an answer where no shape is within the budget."""
    show_ways(
        Way("size", "Size a model"),
        Way("search", "Search by training", {"view": "Start"}),
    )


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
    with st.expander("Basis of the expected loss"):
        st.markdown(_QUALITY if found.query.rank is Rank.QUALITY else _LAW)


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
        st.warning("The speed of this device with this runtime is not known: no shape is refused for it.")


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
    """Choose the shape of a clicked mark or table row; each click counts once."""
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
    """Return a mark's row: plotly.js returns one value bare or in a list."""
    value = customdata[0] if isinstance(customdata, list) and customdata else customdata
    return value if isinstance(value, int) else None


def _show_best(found: Design, best: tuple[int, ...]) -> None:
    st.subheader("The best", divider="gray")
    st.dataframe(best_style(found, best), key=f"{KEYS}best", on_select="rerun", selection_mode="single-row")
    st.caption(
        "Of similar shapes only the best; a shape whose range reaches 0 or below may equal the first. "
        "Choose a row, or a mark above, for its details."
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
        f"against the best of the budget; FFN size {a.intermediate_size:,}, head size {a.head_dim}"
    )
    if found.query.rank is Rank.QUALITY:
        st.markdown(escape_markdown(_reached(found, row)))
    if beyond := outside_ranges(ranked.outside_of(row)):
        st.warning(f"Expected loss extrapolated beyond the fitted models: {beyond}. It may be far off here.")
    show_headline(sized)
    query = size_query(
        a,
        format=sized.format,
        runtime=sized.runtime,
        device=sized.device,
        context_tokens=sized.memory.context_tokens,
    )
    show_ways(
        Way("size", "Open on Size", whole_query(query)),
        Way("search", "Search this budget", search_query(found.query, sized.file.total)),
        Way("users", "Will it run for my users?", model_query(query)),
    )
    st.code(search_command(found.query, sized.file.total), language="sh", wrap_lines=True)
    show_shape_export(a, key=f"{KEYS}export")


def _reached(found: Design, row: int) -> str:
    """Return what a shape would reach after 20 tokens a weight and after the training asked for."""
    sized, length = found.estimate(row), found.query.training_tokens
    usual = USUAL_TOKENS_PER_WEIGHT * sized.parameters.total
    corpus = st.session_state[CORPUS.key] or None
    reached = [
        estimated_quality(sized, int(tokens), corpus=corpus)
        for tokens in dict.fromkeys((usual, usual if length is None else length))
    ]
    texts = [
        f"{q.accuracy:.1f} % ({q.low:.1f} to {q.high:.1f}) after {format_count(q.tokens)} tokens"
        for q in reached
    ]
    return f"Accuracy, mean of eight zero-shot tasks: {', '.join(texts)}; {reached[0].basis}"


def _show_same_size(found: Design) -> None:
    st.subheader("Depth vs width", divider="gray")
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
