"""What both pages show of an estimate: headline figures, breakdown figures, the full table, assumptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from explorer.tables import table_html
from reports.bars import BARS_STYLE, breakdown_html
from reports.breakdowns import bytes_info, memory_info, parameters_info
from reports.estimate_text import Section, estimate_sections
from reports.wording import NOT_KNOWN, energy_text, fit_text, plain, range_text, rate_text
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from sizer.estimate import Estimate
    from sizer.prediction import Prediction


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


def _section_html(section: Section) -> str:
    return table_html(
        (section.title, section.unit, ""),
        [(row.label, row.value, row.remark) for row in section.rows],
        remarks=(2,),
        bold=[place for place, row in enumerate(section.rows) if row.label == "total"],
    )


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
