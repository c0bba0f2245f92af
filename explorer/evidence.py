"""The page "Evidence": predictions beside published measurements, and each device's sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from explorer.charts import show_figure
from explorer.controls import Choice, choice, take_address, write_address
from explorer.tables import table_html
from explorer.tiles import Tile, show_tiles
from reports.evidence_figures import evidence_figure, evidence_info
from reports.evidence_frames import counts_frame, facts_frame, judged_frame, summary
from sizer.device import load_devices
from sizer.measure.judged import judged_measurements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sizer.measure.judged import Judged

ALL = "all"
DECODING, PROMPTS = "decoding", "reading prompts"
KEYS = "evidence_"
PHASE = Choice(f"{KEYS}phase", "Speed of", DECODING, (DECODING, PROMPTS))
BASIS = Choice(
    f"{KEYS}basis",
    "Predicted from",
    ALL,
    (ALL, "fitted", "fitted, few rows", "specification"),
    "fitted: other models on the same device. fitted, few rows: one or two of them. specification: other "
    "devices, and this one's data sheet.",
)
# of what is measured, and devices that are not
DEVICE = Choice(f"{KEYS}device", "Device", ALL, (ALL,))
ENGINE = Choice(f"{KEYS}engine", "Engine", ALL, (ALL,))

_HOW = (
    "Every published measurement in the calculator's data, predicted **without it**: without the rows of its "
    "model on its device, or, where a device has rows of one model only, without the device. The range is "
    "meant to hold 80 % of the time. None of the rows was set aside for good: which terms an engine's "
    "formula has was chosen with all of them in view. `sizer estimate` itself uses all rows, so that for a "
    "model that was measured on the chosen device it is nearer than this page says."
)


def page() -> None:
    """Draw the page."""
    st.header("Evidence")
    st.markdown(_HOW)
    with st.spinner("Predicting every measurement without itself: a few seconds, once..."):
        decode, prompts = judged_measurements()
    rows = (*decode, *prompts)
    devices = sorted({j.row.device for j in rows} | set(load_devices()), key=_title)
    controls = (
        PHASE,
        DEVICE._replace(options=(ALL, *devices)),
        ENGINE._replace(options=(ALL, *sorted({j.row.runtime for j in rows}))),
        BASIS,
    )
    take_address(controls, KEYS)
    for control, column in zip(controls, st.columns(4), strict=True):
        with column:
            choice(control, format_func=_title)
    state = st.session_state
    chosen = [
        j
        for j in (prompts if state[PHASE.key] == PROMPTS else decode)
        if state[DEVICE.key] in (ALL, j.row.device)
        and state[ENGINE.key] in (ALL, j.row.runtime)
        and state[BASIS.key] in (ALL, j.basis)
    ]
    _show_judged(chosen)
    _show_device(state[DEVICE.key])
    _show_counts()
    write_address(controls, KEYS)


def _title(name: str) -> str:
    known = load_devices().get(name)
    return known.title if known else name


def _show_judged(chosen: Sequence[Judged]) -> None:
    if not chosen:
        st.info("No published measurement is like this. Choose another device, engine or basis.")
        return
    frame = judged_frame(chosen)
    found = summary(frame)
    show_tiles(
        [
            Tile("Measurements", f"{found['rows']:,.0f}"),
            Tile("Median error", f"{found['median_error']:.1%}"),
            Tile("90 % within", f"{found['within_90']:.1%}"),
            Tile("Inside the range", f"{found['inside']:.0%}"),
        ]
    )
    info = evidence_info(chosen)
    show_figure(evidence_figure(info), key="evidence", alt=f"{info.title}. {info.subtitle}")
    st.dataframe(frame.drop(columns="device_title"), hide_index=True, key="judged")
    st.download_button("These rows (CSV)", frame.to_csv(index=False), "sizer-evidence.csv", "text/csv")


def _show_device(name: str) -> None:
    st.subheader("Where the devices' numbers are from", divider="gray")
    if name == ALL or name not in load_devices():
        st.caption("Choose a device above to see each of its numbers with its source and date.")
        return
    device = load_devices()[name]
    facts = facts_frame(device)
    rows = facts[["figure", "readable", "date", "source"]].astype(str).to_numpy().tolist()
    st.markdown(f"**{device.title}**")
    st.html(table_html(("figure", "value", "date", "source"), rows, left=(0, 3)))
    st.download_button("This device (CSV)", facts.to_csv(index=False), f"{name}.csv", "text/csv")


def _show_counts() -> None:
    st.subheader("Parameter counts", divider="gray")
    counts = counts_frame()
    exact = int((counts["difference"] == 0).sum())
    st.caption(f"{exact} of {len(counts)} exact counts that somebody published are met to the last digit.")
    st.dataframe(counts, hide_index=True, key="counts")
    st.download_button("Counts (CSV)", counts.to_csv(index=False), "sizer-counts.csv", "text/csv")


page()
