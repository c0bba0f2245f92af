"""All trials of a study: parallel coordinates to brush in, and the grid of those that are left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from explorer.widgets.charts import show_figure
from reports.figures.parallel import ParallelInfo, parallel_figure, parallel_info
from reports.figures.study import compared_cohort
from reports.tables.study import GRID_COLUMNS, rows_with_words, trials_frame
from reports.text.wording import escape_markdown
from sizer.errors import SizerError

if TYPE_CHECKING:
    from search.store.results import SearchResult

PARALLEL, GRID, ROWS = "study_parallel", "study_grid", "study_rows"
_FILTER = "study_filter"
# Heads of the columns of the grid whose names are not words, and decimals that are shown.
_HEADS = {
    "on_frontier": "on the frontier",
    "num_parameters": "parameters",
    "file_bytes": "file (bytes)",
    "memory_bytes": "memory (bytes)",
    "decode_tokens_per_s": "decode (tokens/s)",
    "val_bits_per_byte": "bits per byte",
    "val_bits_per_byte_se": "± se",
    "model_val_bits_per_byte": "bits per byte, extrapolated",
    "trained_tokens": "tokens trained on",
    "wall_s": "training (s)",
    "violations": "over the budget",
}
_DECIMALS = {
    "decode_tokens_per_s": 1,
    "val_bits_per_byte": 4,
    "val_bits_per_byte_se": 4,
    "model_val_bits_per_byte": 4,
    "wall_s": 1,
}


class Brush(NamedTuple):
    """A rectangle drawn over the parallel coordinates: the axes that it crosses, and its heights."""

    axes: tuple[int, ...]
    low: float
    high: float


def show_trials(result: SearchResult, trial_key: str) -> None:
    """Draw the lines of the models and the grid that brushing filters; a chosen row is the chosen model."""
    st.subheader("All trials", divider="gray")
    kept = _show_parallel(result)
    frame = trials_frame(result)
    shown = frame if kept is None else frame[frame["trial"].isin(kept)]
    words = st.text_input(
        "Filter", key=_FILTER, placeholder="such as Q4_0 complete", help="Trials whose row has all the words."
    )
    shown = rows_with_words(shown, words)
    numbers = [int(number) for number in shown["trial"]]
    brushed = "" if kept is None else " brushed;"
    st.caption(f"{len(numbers)} of {len(frame)} trials;{brushed} choose a row to see its model above.")

    def choose() -> None:
        places = st.session_state[GRID]["selection"]["rows"]
        trained = {record.number for record in result.trained}
        chosen = [numbers[place] for place in places if place < len(numbers)]
        if chosen and chosen[0] in trained:
            st.session_state[trial_key] = chosen[0]

    columns = [name for name in GRID_COLUMNS if shown[name].notna().any()]
    st.dataframe(
        shown.round(_DECIMALS),
        hide_index=True,
        key=GRID,
        column_order=columns,
        column_config={name: _column(name, is_number=shown[name].dtype.kind in "iuf") for name in columns},
        on_select=choose,
        selection_mode="single-row",
    )


def _column(name: str, *, is_number: bool) -> Any:
    head = _HEADS.get(name, name)
    if is_number:
        return st.column_config.NumberColumn(head, format="localized")
    return st.column_config.Column(head)


def _show_parallel(result: SearchResult) -> frozenset[int] | None:
    """Draw the lines; return the trials inside every brush, None without one."""
    try:
        info = parallel_info(result, compared_cohort(result))
    except SizerError as error:  # a study from elsewhere with a format that is not known here
        st.caption(escape_markdown(f"No parallel coordinates: {error}"))
        return None
    if info.notice or not info.axes:
        return None
    figure = parallel_figure(info)
    figure.update_layout(dragmode="select", selectdirection="any")
    alt = f"Shape, cost and score of {len(info.lines)} models, a line each over {len(info.axes)} axes"
    # scrolls sideways on a narrow screen instead of being squeezed into it, see explorer/served/navigation.py
    with st.container(key="scroll_parallel"):
        event = show_figure(figure, key=PARALLEL, on_select="rerun", selection_mode="box", alt=alt)
    st.caption(
        "Drag over a part of an axis to keep the models that cross it there; hold Shift for a second axis; "
        "double-click to keep all."
    )
    return kept_trials(info, brushes(event["selection"].get("box", ())))


def brushes(boxes: Iterable[Any]) -> tuple[Brush, ...]:
    """Return the brushes that Streamlit reports as boxes; one that crosses no axis is none."""
    found = []
    for box in boxes:
        (left, right), (low, high) = sorted(map(float, box["x"])), sorted(map(float, box["y"]))
        axes = tuple(place for place in range(max(0, int(left)), int(right) + 2) if left <= place <= right)
        if axes:
            found.append(Brush(axes, low, high))
    return tuple(found)


def kept_trials(info: ParallelInfo, drawn: Sequence[Brush]) -> frozenset[int] | None:
    """Return the trials whose lines pass every brush on each of its axes; None without brushes."""
    if not drawn:
        return None
    return frozenset(
        line.trial
        for line in info.lines
        if all(
            brush.low <= line.heights[axis] <= brush.high
            for brush in drawn
            for axis in brush.axes
            if axis < len(line.heights)
        )
    )
