"""The page "Compare": memory and speed of models on devices, and two models side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import streamlit as st

from explorer.pages.compare.inputs import (
    CONTEXT,
    CORPUS,
    DEVICES,
    FIGURE,
    FIRST,
    FORMAT,
    KEEP,
    KEYS,
    MODELS,
    ON,
    RUNTIME,
    SECOND,
    SORT,
    STATE,
    TARGET,
    TOKENS,
    VARIANTS,
    compared,
    draw_inputs,
)
from explorer.state import said
from explorer.widgets.controls import choice
from explorer.widgets.deployment import device_title
from explorer.widgets.device_choice import with_variants
from explorer.widgets.html import show_tables
from explorer.widgets.onward import Way, show_way, show_ways
from explorer.widgets.size_link import size_query, whole_query
from reports.figures import FIGURE_CONFIG
from reports.figures.compare import pair_figure, pair_infos
from reports.html.tables import table_html
from reports.tables.compare import (
    FIGURES,
    Order,
    chosen_rows,
    comparison_frame,
    matrix_style,
    prediction_of,
    quality_frame,
)
from reports.tables.differences import differences
from reports.text.wording import escape_markdown, shape_text
from sizer.devices.catalogue import device_name, name_parts
from sizer.errors import SizerError
from sizer.quality.lengths import compared_qualities

if TYPE_CHECKING:
    from reports.tables.differences import DifferenceRow
    from sizer.comparison import Comparison
    from sizer.model_estimate import Estimate

# What a table of five columns with ranges needs.
_LEAST_PART_REM = 34


def page() -> None:
    """Draw the page."""
    if STATE.load():
        _take_device()
    with st.sidebar:
        draw_inputs()
    st.header("Compare")
    _show()
    STATE.save()
    st.subheader("What next", divider="gray")
    show_ways(
        Way("design", "Find a better shape"),
        Way("users", "Will it run for my users?"),
        Way("search", "Search by training", {"view": "Start"}),
    )


def _take_device() -> None:
    """Compare on the device that was chosen on another page as well."""
    state, device = st.session_state, said("device")
    if device in DEVICES.options and tuple(state[DEVICES.key]) == DEVICES.first:
        state[DEVICES.key] = [device, *(name for name in DEVICES.first if name != device)]
        state[TARGET.key] = device
        try:
            full = device_name(device, said("ram") or None, said("backend") or None)
        except SizerError:  # an address with a RAM that the device is not sold with
            full = device
        state[VARIANTS.key] = [full] if full != device else []


def _show() -> None:
    values = st.session_state
    names = tuple(values[MODELS.key])
    devices = with_variants(values[DEVICES.key], values[VARIANTS.key])
    if not names:
        st.info("Choose a model, or several, on the left.")
        return
    found, refused = compared(names, devices, values[FORMAT.key], values[RUNTIME.key], values[CONTEXT.key])
    for line in refused:
        st.error(escape_markdown(line))
    if found is None:
        return
    _show_matrix(found)
    _show_downloads(found)
    _show_quality(found)
    _show_pair(found)


def _show_quality(found: Comparison) -> None:
    st.subheader("Quality after training", divider="gray")
    values = st.session_state
    tokens, corpus = values[TOKENS.key].strip() or None, values[CORPUS.key] or None
    try:
        reached = compared_qualities([row[0] for row in found.rows], tokens, corpus=corpus)
    except SizerError as error:
        st.error(escape_markdown(str(error)))
        return
    st.dataframe(quality_frame(found, reached), key=f"{KEYS}quality", hide_index=True)
    basis = next((row[-1].basis for row in reached if row), "no model predicts the next token")
    st.caption(
        "If each shape were trained from scratch for that many tokens; best first by the longest training. "
        "Percent, the mean of eight zero-shot tasks, with 80 % ranges, after rounding to the format; "
        f"{basis}."
    )


def _show_matrix(found: Comparison) -> None:
    figure, sort, keep = st.columns(3)
    with figure:
        choice(FIGURE, format_func=lambda name: FIGURES[name].name)
    with sort:
        full = {name_parts(name)[0]: name for name in found.devices if name}
        known = [option for option in SORT.options if option.removeprefix(ON) in full]
        if st.session_state[SORT.key] not in (*SORT.options[:4], *known):
            st.session_state[SORT.key] = SORT.first
        choice(SORT, among=(*(o for o in SORT.options if not o.startswith(ON)), *known))
    with keep:
        choice(KEEP)
    chosen, by = st.session_state[FIGURE.key], st.session_state[SORT.key]
    order = Order("figure", full[by.removeprefix(ON)]) if by.startswith(ON) else Order(by)
    rows = chosen_rows(found, figure=chosen, order=order, keep=st.session_state[KEEP.key])
    if not rows:
        st.info(f"None of the {len(found.rows)} models: all are left out by “Show models that”.")
        return
    st.dataframe(matrix_style(found, rows, chosen), key=f"{KEYS}matrix")
    cell = found.rows[0][0]
    st.caption(
        f"{cell.format} on {cell.runtime}, {cell.workload.context_tokens:,} tokens of context. "
        "✓ fits, ✗ does not fit, ? no memory limit known. "
        f"{FIGURES[chosen].name.capitalize()} with its 80 % range; "
        f"{', '.join(_bases(found, chosen)) or 'the speed is not known'}. "
        "Click a column's head to sort by it."
    )


def _bases(found: Comparison, figure: str) -> list[str]:
    """Return each basis of the figures, with the devices that it holds for."""
    by_basis: dict[str, list[str]] = {}
    for cell in found.rows[0]:
        prediction = prediction_of(cell, figure)
        if prediction is not None and cell.device is not None:
            by_basis.setdefault(prediction.basis.label, []).append(cell.device.name)
    return [f"{text}: {', '.join(names)}" for text, names in by_basis.items()]


def _show_downloads(found: Comparison) -> None:
    row = st.container(horizontal=True)
    row.download_button("CSV", comparison_frame(found).to_csv(index=False), "compare.csv", "text/csv")
    row.download_button(
        "JSON",
        json.dumps(found.to_dict(), indent=2, allow_nan=False) + "\n",
        "compare.json",
        "application/json",
        help="The document of `sizer compare --json`.",
    )


def _show_pair(found: Comparison) -> None:
    st.subheader("Side by side", divider="gray")
    if len(found.rows) < 2:
        st.info("Choose a second model on the left to see two side by side.")
        return
    _keep_pair(found)
    names = [f"{n + 1}. {name}" for n, name in enumerate(found.models)]
    among = tuple(str(number) for number in range(len(names)))
    columns = st.columns(3)
    pair: list[Estimate] = []
    with columns[2]:
        place = 0
        if found.devices != (None,):
            known = tuple(name_parts(name)[0] for name in found.devices if name)
            target = choice(TARGET, among=known, format_func=device_title)
            place = known.index(target)
    for column, control in zip(columns, (FIRST, SECOND), strict=False):
        with column:
            number = int(choice(control, among=among, format_func=lambda n: names[int(n)]))
            cell = found.rows[number][place]
            pair.append(cell)
            st.caption(escape_markdown(shape_text(cell.architecture)))
            query = size_query(
                cell.architecture,
                format=cell.format,
                runtime=cell.runtime,
                device=cell.device,
                context_tokens=cell.workload.context_tokens,
            )
            show_way(Way("size", f"Open {control.label} on Size", whole_query(query)))
    for column, info in zip(st.container(key="wide_pair").columns(3), pair_infos(*pair), strict=False):
        column.plotly_chart(
            pair_figure(info),
            key=f"{KEYS}{info.title}",
            config=FIGURE_CONFIG,
            alt=f"{info.title} of {' and '.join(info.names)} by part",
        )
    show_tables([_part_html(part) for part in differences(*pair)], least_rem=_LEAST_PART_REM)


def _keep_pair(found: Comparison) -> None:
    """Replace A, B and the device if they are not in the comparison."""
    state, most = st.session_state, len(found.rows)
    for control, usual in ((FIRST, 0), (SECOND, 1)):
        if int(state[control.key]) >= most:
            state[control.key] = str(usual)
    known = [name_parts(name)[0] for name in found.devices if name]
    if known and state[TARGET.key] not in known:
        state[TARGET.key] = known[0]


def _part_html(part: DifferenceRow) -> str:
    """Return a table of a part of the two models as safe HTML; lines that differ are marked."""
    return table_html(
        (part.title, "A", "B", "B − A", "%"),
        [
            (
                f"≠ {line.label}" if line.differs else line.label,
                line.first,
                line.second,
                line.change,
                line.percent,
            )
            for line in part.lines
        ],
        text_columns=(part.title,),
        bold_rows=[place for place, line in enumerate(part.lines) if line.differs],
    )


page()
