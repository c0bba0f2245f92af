"""What both pages show of an estimate: headline figures, breakdown figures, the full table, assumptions."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from reports.bars import BARS_STYLE, breakdown_html
from reports.breakdowns import bytes_info, memory_info, parameters_info
from reports.estimate_text import Section, estimate_sections
from reports.wording import NOT_KNOWN, energy_text, fit_text, plain, range_text, rate_text
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sizer.estimate import Estimate
    from sizer.prediction import Prediction

_TABLE_STYLE = """<style>
table.sizer-figures { border-collapse: collapse; width: 100%; font-size: .875rem; margin-bottom: .6rem; }
.sizer-figures td, .sizer-figures th { border: 0; border-bottom: 1px solid rgba(138, 145, 156, .3);
  padding: .2rem .8rem .2rem 0; text-align: left; font-variant-numeric: tabular-nums; }
.sizer-figures td:nth-child(1) { white-space: nowrap; }
.sizer-figures td:nth-child(2), .sizer-figures th:nth-child(2) { text-align: right; white-space: nowrap; }
.sizer-figures td:nth-child(3) { opacity: .7; }
.sizer-figures tr.total td { font-weight: 600; }
.sizer-wide { overflow-x: auto; }
.sizer-figures.sizer-numbers td, .sizer-figures.sizer-numbers th { white-space: nowrap; opacity: 1; }
.sizer-figures.sizer-numbers :is(td, th):nth-child(n + 2) { text-align: right; }
</style>"""


def show_headline(estimate: Estimate) -> None:
    """Parameters, file, memory, speed and energy as six figures, each with its range or remark below it."""
    parameters, file, memory = estimate.parameters, estimate.file, estimate.memory
    tiles = [column.container(gap=None) for column in st.columns(6)]
    tiles[0].metric("Parameters", format_count(parameters.total))
    tiles[0].caption(f"{format_count(parameters.non_embedding)} outside embedding and head")
    tiles[1].metric("File", format_bytes(file.total))
    tiles[1].caption(f"{estimate.format}, {estimate.bits_per_weight:.2f} bits per weight")
    tiles[2].metric("Memory", format_bytes_binary(memory.total_bytes))
    tiles[2].caption(_memory_remark(estimate))
    latency = estimate.latency
    decode = latency.decode_tokens_per_s if latency else None
    first = latency.time_to_first_token_s if latency else None
    tiles[3].metric("Decode, tokens/s", rate_text(decode.value) if decode else NOT_KNOWN)
    tiles[3].caption(_speed_remark(estimate, decode, rate_text))
    tiles[4].metric("First token", format_seconds(first.value) if first else NOT_KNOWN)
    tiles[4].caption(_speed_remark(estimate, first, format_seconds))
    energy = estimate.energy
    tiles[5].metric("Energy per token", energy_text(energy.value) if energy else NOT_KNOWN)
    tiles[5].caption(_speed_remark(estimate, energy, energy_text))


def show_breakdowns(estimate: Estimate, key: str) -> None:
    """Parameters, file bytes and memory by part, side by side; `key` sets them apart from others."""
    infos = {"parameters": parameters_info, "file": bytes_info, "memory": memory_info}
    for column, (name, decide) in zip(st.columns(len(infos)), infos.items(), strict=True):
        column.html(f"<style>{BARS_STYLE}</style>{breakdown_html(decide(estimate), f'{key}-{name}')}")


def show_details(estimate: Estimate) -> None:
    """Every figure as a table in sections, and the assumptions it rests on."""
    figures, assumptions = st.tabs(["All figures", "Assumptions"])
    with figures:
        show_figures(estimate)
    with assumptions:
        show_assumptions(estimate)


def show_figures(estimate: Estimate) -> None:
    """Every figure as a table in sections."""
    columns = st.columns(2)
    for place, section in enumerate(estimate_sections(estimate)):
        columns[place % 2].html(_section_html(section))


def show_assumptions(estimate: Estimate) -> None:
    """What the figures rest on."""
    st.markdown("\n".join(f"- {plain(note)}" for note in estimate.assumptions))


def table_html(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts, numbers to the right of the first column; wider than the screen, it scrolls."""
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    rows_html = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    table = f'<table class="sizer-figures sizer-numbers">{rows_html}</table>'
    return (
        f'{_TABLE_STYLE}<div class="sizer-wide" tabindex="0" role="region" aria-label="table">{table}</div>'
    )


def _section_html(section: Section) -> str:
    rows = "".join(
        f"<tr{' class=total' if row.label == 'total' else ''}><td>{escape(row.label)}</td>"
        f"<td>{escape(row.value)}</td><td>{escape(row.remark)}</td></tr>"
        for row in section.rows
    )
    head = f"<tr><th>{escape(section.title)}</th><th>{escape(section.unit)}</th><th></th></tr>"
    return f'{_TABLE_STYLE}<table class="sizer-figures"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _memory_remark(estimate: Estimate) -> str:
    memory = estimate.memory
    if memory.budget_bytes is None:
        return "no budget known"
    colour = "green" if memory.fits else "red"
    return f":{colour}[{fit_text(memory.total_bytes, memory.budget_bytes)}]"


def _speed_remark(estimate: Estimate, prediction: Prediction | None, wording: Callable[[float], str]) -> str:
    if prediction is not None:
        return f"{range_text(prediction, wording)}, {prediction.basis.value}"
    return "choose a device" if estimate.device is None else "nothing known of this device's speed"
