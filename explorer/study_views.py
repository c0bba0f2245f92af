"""What pages show of a study: its frontier to click in, one of its models, and how far to trust it."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from explorer.charts import show_figure
from explorer.downloads import download_name, study_downloads
from explorer.link import size_link, size_query
from explorer.panels import show_breakdowns, show_details, show_headline
from explorer.tables import table_html
from reports.deployment import deployed_estimate
from reports.exports import NO_PARQUET, has_parquet
from reports.figures import frontier_figure, frontier_info
from reports.proxies import frontier_notes, ranked_text, ranks_carried, score_cells
from reports.trust_text import TAU_ROW, control_line, trust_columns, trust_rows
from reports.wording import plain, shape_text
from search.store.folders import study_folder
from sizer.errors import SizerError, StudyError
from sizer.hf_config import config_from_architecture
from sizer.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from explorer.search_studies import Trust
    from search.store.results import SearchResult, TrialRecord
    from search.trust.trust import RungTrust


def choose_on_frontier(result: SearchResult, *, chart: str, trial: str) -> TrialRecord:
    """The figure and a menu; returns the model clicked on or chosen, the most accurate one at first.

    `chart` and `trial` are the widgets' keys, so that several pages can each have theirs.
    """
    info, carried = frontier_info(result), ranks_carried(result)
    by_number = {record.number: record for record in result.trained}
    on_front = [point.trial for point in info.front]
    event = show_figure(
        frontier_figure(info),
        key=chart,
        on_select="rerun",
        selection_mode="points",
        alt=f"{'Carried-over' if carried else 'Validation'} bits per byte against file size, "
        f"{len(on_front)} models on the frontier",
    )
    if carried:
        st.caption(plain(" ".join(frontier_notes(result))))
    clicked = [point["customdata"] for point in event["selection"]["points"] if "customdata" in point]
    number, before = _number(clicked[0]) if clicked else None, f"{chart}_clicked"
    if number in by_number and number != st.session_state.get(before):
        st.session_state[trial] = number
    st.session_state[before] = number
    if st.session_state.get(trial) not in by_number:
        st.session_state[trial] = on_front[-1]
    order = on_front + [number for number in by_number if number not in on_front]
    number = st.selectbox(
        "Model (or click a point above)",
        order,
        key=trial,
        format_func=lambda n: (
            f"trial {n}: {_line(result, by_number[n])}" + ("" if n in on_front else " (dominated)")
        ),
    )
    return by_number[number]


def show_model(result: SearchResult, record: TrialRecord, *, key: str) -> None:
    """A model's score, and what the calculator says of it as deployed; `key` sets its charts apart."""
    proxy = record.proxy
    assert proxy is not None
    st.subheader(f"Trial {record.number}", divider="gray")
    seeds = f"seed {proxy.seed}" if proxy.seeds == 1 else f"mean of {proxy.seeds} seeds"
    st.markdown(
        f"**{plain(ranked_text(result, record))}** ({_exact(record)}) after {proxy.steps:,} steps, "
        f"{format_count(proxy.trained_tokens)} tokens and {format_seconds(proxy.wall_s)} of training, {seeds}"
    )
    try:
        sized = deployed_estimate(result, record)
    except SizerError as error:
        st.error(plain(str(error)))
        return
    show_headline(sized)
    show_breakdowns(sized, key)
    show_details(sized)


def show_export(result: SearchResult, record: TrialRecord, storage: str, *, key: str) -> None:
    """How the model is taken along: its configuration, the commands that print it, its weights if kept."""
    architecture, name = record.candidate.architecture, shlex.quote(result.study)
    config = download_name(result.study, f"{record.number}.json")
    device = f" --device {shlex.quote(result.device)}" if result.device else ""
    commands = [
        f"sizer search frontier {name} --json",
        f"sizer search report {name}",
        f"sizer estimate --config {shlex.quote(config)} --format {record.candidate.format}{device}",
    ]
    st.code("\n".join(commands), language="sh")
    left, right = st.columns(2)
    left.download_button(
        "Configuration (JSON)",
        json.dumps(config_from_architecture(architecture), indent=2),
        config,
        "application/json",
        key=f"{key}_config",
    )
    link = _size_link(result, record)
    if link is not None:
        right.markdown(f"[Open in Size a model]({link})")
    kept: list[Path] = []
    with suppress(StudyError):  # a name that is a path, as only other programs give, has no folder
        kept = sorted((study_folder(result.study, storage) / "finalists").glob(f"{record.number}-*.npz"))
    if kept:
        st.caption(plain(f"Weights: {', '.join(map(str, kept))}"))
    else:
        st.caption(
            "Its weights were not kept: that needs `--keep-finalists`, and is done for finalists alone."
        )


def show_downloads(result: SearchResult, storage: str, *, key: str) -> None:
    """The study's report and tables by a click: each is made then, and its button turns while it is."""
    row = st.container(horizontal=True)
    for place, download in enumerate(study_downloads(result, storage)):
        row.download_button(
            download.label,
            download.make,
            download.file_name,
            download.mime,
            key=f"{key}_{place}",
            on_click="ignore",
            type="secondary" if place else "primary",
        )
    st.caption(
        "What `sizer search report` writes, made at the click: some seconds for the report, a minute where "
        "there are thousands of trials. It opens without the explorer and without a network."
    )
    if not has_parquet():
        st.caption(plain(NO_PARQUET))


def trust_html(reports: tuple[RungTrust, ...]) -> str:
    """The table of `sizer search trust`, safe HTML; empty where nothing was trained beyond the first rung."""
    if not reports:
        return ""
    rows = trust_rows(reports)
    bold = [place for place, row in enumerate(rows) if row[0] == TAU_ROW]
    return table_html(trust_columns(reports), rows, bold=bold)


def show_trust(trust: Trust, result: SearchResult, control: SearchResult | None) -> None:
    """What `sizer search trust` prints, in the same words and numbers."""
    st.markdown(f"**Verdict:** {plain(trust.line)}")
    if table := trust_html(trust.reports):
        st.html(table)
    if control is not None:
        try:
            st.markdown(plain(control_line(result, control)))
        except SizerError as error:
            st.info(plain(str(error)))
    with st.expander("What to know before believing it"):
        st.markdown("\n".join(f"- {plain(note)}" for note in trust.notes))


def _size_link(result: SearchResult, record: TrialRecord) -> str | None:
    """Address of the model on the size page; None for what that page cannot show, such as a device file."""
    try:
        query = size_query(
            record.candidate.architecture,
            format=record.candidate.format,
            runtime=result.runtime,
            device=result.device,
            context_tokens=int(result.settings["context_tokens"]),
        )
    except SizerError:
        return None
    return size_link(query)


def _number(customdata: object) -> int | None:
    """A point's trial: plotly.js hands one value back bare or in a list, depending on the trace."""
    value = customdata[0] if isinstance(customdata, list) and customdata else customdata
    return value if isinstance(value, int) else None


def _line(result: SearchResult, record: TrialRecord) -> str:
    a, score = record.candidate.architecture, score_cells(result, record)[0]
    return f"{shape_text(a)}, {record.candidate.format}, {format_bytes(record.file_bytes)}, {score}"


def _exact(record: TrialRecord) -> str:
    """The score without rounding, and what it means: models of few bits are trained as rounded."""
    proxy, name = record.proxy, record.candidate.format
    assert proxy is not None
    assert proxy.val_bits_per_byte_full is not None
    full, score = proxy.val_bits_per_byte_full, proxy.val_bits_per_byte
    if score is not None and full > score:
        return f"trained rounded to {name}; {full:.4f} by the weights behind the rounding"
    return f"{full:.4f} before rounding to {name}"
