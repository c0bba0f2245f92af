"""The page "Compare": models against devices, what fits and how fast; and two models side by side."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from explorer.compare_inputs import (
    BESIDE,
    CONTEXT,
    CONTROLS,
    DEVICES,
    ENGINE,
    FIGURE,
    FIRST,
    FORMAT,
    KEEP,
    KEYS,
    MODELS,
    ON,
    SECOND,
    SORT,
    compared,
    draw_inputs,
    keep_to_engine,
)
from explorer.controls import choice, take_address, write_address
from explorer.link import size_link, size_query
from reports.compare_figures import pair_figure, pair_infos
from reports.compare_frames import FIGURES, Order, chosen_rows, comparison_frame, matrix_style, prediction_of
from reports.compare_text import BASES
from reports.differences import differences
from reports.figures import FIGURE_CONFIG
from reports.wording import plain, shape_text
from sizer.device import load_devices

if TYPE_CHECKING:
    from reports.differences import Part
    from sizer.comparison import Comparison
    from sizer.estimate import Estimate

_STYLE = """<style>
.sizer-beside-wide { overflow-x: auto; }
table.sizer-beside { border-collapse: collapse; width: 100%; font-size: .875rem; margin-bottom: .8rem; }
.sizer-beside td, .sizer-beside th { border: 0; border-bottom: 1px solid rgba(138, 145, 156, .3);
  padding: .2rem .8rem .2rem 0; text-align: right; font-variant-numeric: tabular-nums; }
.sizer-beside td:nth-child(1), .sizer-beside th:nth-child(1) { text-align: left; }
.sizer-beside td:nth-child(4), .sizer-beside td:nth-child(5) { white-space: nowrap; }
.sizer-beside tr.same td { opacity: .75; }
.sizer-beside tr.differs td:nth-child(1)::before { content: "≠ "; color: #D55E00; font-weight: 600; }
</style>"""


def page() -> None:
    """Draw the page."""
    take_address(CONTROLS, KEYS)
    keep_to_engine()
    with st.sidebar:
        draw_inputs()
    st.header("Compare")
    _show()
    write_address(CONTROLS, KEYS)


def _show() -> None:
    values = st.session_state
    names, devices = tuple(values[MODELS.key]), tuple(values[DEVICES.key])
    if not names:
        st.info("Choose a model, or several, on the left.")
        return
    found, refused = compared(names, devices, values[FORMAT.key], values[ENGINE.key], values[CONTEXT.key])
    for line in refused:
        st.error(plain(line))
    if found is None:
        return
    _show_matrix(found)
    _show_downloads(found)
    _show_beside(found)


def _show_matrix(found: Comparison) -> None:
    figure, sort, keep = st.columns(3)
    with figure:
        choice(FIGURE, format_func=lambda name: FIGURES[name].name)
    with sort:
        known = [option for option in SORT.options if option.removeprefix(ON) in found.devices]
        if st.session_state[SORT.key] not in (*SORT.options[:4], *known):
            st.session_state[SORT.key] = SORT.first
        choice(SORT, among=(*(o for o in SORT.options if not o.startswith(ON)), *known))
    with keep:
        choice(KEEP)
    chosen, by = st.session_state[FIGURE.key], st.session_state[SORT.key]
    order = Order("figure", by.removeprefix(ON)) if by.startswith(ON) else Order(by)
    rows = chosen_rows(found, figure=chosen, order=order, keep=st.session_state[KEEP.key])
    if not rows:
        st.info(f"None of the {len(found.rows)} models: all are left out by “Show models that”.")
        return
    st.dataframe(matrix_style(found, rows, chosen), key=f"{KEYS}matrix")
    cell = found.rows[0][0]
    st.caption(
        f"{cell.format} on {cell.runtime}, {cell.memory.context_tokens:,} tokens of context. "
        "✓ fits, ✗ does not fit, ? no memory limit known. "
        f"{FIGURES[chosen].name.capitalize()} with the range meant to hold 80 % of the time; "
        f"{', '.join(_bases(found, chosen)) or 'nothing is known of the speed'}. "
        "A click on a column's head sorts by it."
    )


def _bases(found: Comparison, figure: str) -> list[str]:
    """How the figures were come by, for each basis there is, with the devices it holds for."""
    said: dict[str, list[str]] = {}
    for cell in found.rows[0]:
        prediction = prediction_of(cell, figure)
        if prediction is not None and cell.device is not None:
            said.setdefault(BASES[prediction.basis][2:], []).append(cell.device.name)
    return [f"{text}: {', '.join(names)}" for text, names in said.items()]


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


def _show_beside(found: Comparison) -> None:
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
        target = ""
        if found.devices != (None,):
            titles = {name: load_devices()[name].title for name in found.devices if name}
            target = choice(BESIDE, among=tuple(titles), format_func=lambda name: titles[name])
    place = found.devices.index(target) if target in found.devices else 0
    for column, control in zip(columns, (FIRST, SECOND), strict=False):
        with column:
            number = int(choice(control, among=among, format_func=lambda n: names[int(n)]))
            cell = found.rows[number][place]
            pair.append(cell)
            st.caption(plain(shape_text(cell.architecture)))
            query = size_query(
                cell.architecture,
                format=cell.format,
                runtime=cell.runtime,
                device=cell.device,
                context_tokens=cell.memory.context_tokens,
            )
            st.link_button(f"Open {control.label} on Size", size_link(query), type="tertiary")
    for column, info in zip(st.columns(3), pair_infos(*pair), strict=True):
        column.plotly_chart(
            pair_figure(info),
            key=f"{KEYS}{info.title}",
            config=FIGURE_CONFIG,
            alt=f"{info.title} of {' and '.join(info.names)} by part",
        )
    left, right = st.columns(2)
    for number, part in enumerate(differences(*pair)):
        (left if number in (0, 1) else right).html(_part_html(part))


def _keep_pair(found: Comparison) -> None:
    """A and B are rows there are, and different ones at first; the device is one that is compared."""
    state, most = st.session_state, len(found.rows)
    for control, usual in ((FIRST, 0), (SECOND, 1)):
        if int(state[control.key]) >= most:
            state[control.key] = str(usual)
    if found.devices[0] is not None and state[BESIDE.key] not in found.devices:
        state[BESIDE.key] = found.devices[0]


def _part_html(part: Part) -> str:
    rows = "".join(
        f"<tr class={'differs' if line.differs else 'same'}><td>{escape(line.label)}</td>"
        f"<td>{escape(line.first)}</td><td>{escape(line.second)}</td><td>{escape(line.change)}</td>"
        f"<td>{escape(line.percent)}</td></tr>"
        for line in part.lines
    )
    head = f"<tr><th>{escape(part.title)}</th><th>A</th><th>B</th><th>B − A</th><th>%</th></tr>"
    table = f'<table class="sizer-beside"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    return (
        f'{_STYLE}<div class="sizer-beside-wide" tabindex="0" role="region" aria-label="table">{table}</div>'
    )


page()
