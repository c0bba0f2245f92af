"""The page "Evidence": predictions against published measurements, and each device's sources."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from explorer.state import Choice, PageState
from explorer.widgets.controls import choice
from explorer.widgets.html import show_table, show_tiles
from explorer.widgets.onward import Way, show_ways
from reports.figures.evidence import evidence_info
from reports.html.scatter import evidence_html
from reports.html.tiles import Tile
from reports.text.evidence import BASIS_LABELS, exact_counts, misses_of
from sizer.calibration.held_out_file import kept_held_out
from sizer.devices.catalogue import load_devices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sizer.calibration.held_out_file import HeldOut
    from sizer.calibration.predicted_speed import PredictedSpeed, PrintedSpeed

ALL = "all"
DECODING, PROMPTS = "decoding", "reading prompts"
KEYS = "evidence_"
# keys of the tables that are folded at first
ROWS, COUNTS = f"{KEYS}rows", f"{KEYS}counts"
PHASE = Choice(f"{KEYS}phase", "Speed of", DECODING, (DECODING, PROMPTS))
BASIS = Choice(
    f"{KEYS}basis",
    "Predicted from",
    ALL,
    (ALL, "fitted", "fitted, few rows", "specification"),
    "Fitted to benchmarks: other models on the same device; to few: one or two of them. From the data sheet: "
    "fitted on other devices.",
)
# options are filled in from the measurements and the catalogue
DEVICE = Choice(f"{KEYS}device", "Device", ALL, (ALL,))
RUNTIME = Choice(f"{KEYS}engine", "Runtime", ALL, (ALL,))

_HOW = (
    "Every published measurement in the calculator's data, predicted **without it**: without the rows of its "
    "model on its device, or, if a device has rows of one model only, without the device. Ranges are 80 % "
    "ranges. No rows were held out for good: the terms of a runtime's formula were chosen on all of them. "
    "`sizer estimate` uses all rows, so that for a model that was measured on the chosen device it is more "
    "accurate than this page shows."
)


def page() -> None:
    """Draw the page."""
    st.header("Evidence")
    st.markdown(_HOW)
    decode, prompts = _predictions()
    rows = (*decode, *prompts)
    devices = sorted({j.row.device for j in rows} | set(load_devices()), key=_title)
    controls = (
        PHASE,
        DEVICE._replace(options=(ALL, *devices)),
        RUNTIME._replace(options=(ALL, *sorted({j.row.runtime for j in rows}))),
        BASIS,
    )
    page_state = PageState(prefix=KEYS, controls=controls)
    page_state.load()
    for control, column in zip(controls, st.columns(4), strict=True):
        with column:
            choice(control, format_func=_title)
    state = st.session_state
    chosen = [
        j
        for j in (prompts if state[PHASE.key] == PROMPTS else decode)
        if state[DEVICE.key] in (ALL, j.row.device)
        and state[RUNTIME.key] in (ALL, j.row.runtime)
        and state[BASIS.key] in (ALL, j.basis)
    ]
    _show_judged(chosen)
    _show_device(state[DEVICE.key])
    _show_counts()
    page_state.save()
    st.subheader("What next", divider="gray")
    device = state[DEVICE.key]
    chosen_device = {"device": device} if device in load_devices() else {}
    show_ways(
        Way("size", "Size a model", chosen_device),
        Way("compare", "Compare models", chosen_device),
    )


def _predictions() -> HeldOut:
    """Return all predictions, of decode and of prefill speeds."""
    if (kept := kept_held_out()) is not None:
        return kept
    with st.spinner("The data have changed. Predicting every measurement without itself: seconds, once..."):
        from sizer.calibration.held_out import held_out_measurements  # scipy takes half a second

        return held_out_measurements()


def _title(name: str) -> str:
    known = load_devices().get(name)
    return known.title if known else BASIS_LABELS.get(name, name)


def _show_judged(chosen: Sequence[PredictedSpeed[PrintedSpeed]]) -> None:
    if not chosen:
        st.info("There is no such published measurement. Choose another device, runtime or basis.")
        return
    found = misses_of(chosen)
    show_tiles(
        [
            Tile("Measurements", f"{found.rows:,.0f}"),
            Tile("Median error", f"{found.median_error:.1%}"),
            Tile("90 % within", f"{found.within_90:.1%}"),
            Tile("Inside the range", f"{found.inside:.0%}"),
        ]
    )
    info = evidence_info(chosen)
    st.html(evidence_html(info, "evidence", alt=f"{info.title}. {info.subtitle}"))
    # made when asked for: tables, and the import of pandas, are most of what this page would take to open
    with st.expander("Every measurement and its prediction", key=ROWS, on_change="rerun") as rows:
        if rows.open:
            from reports.tables.evidence import judged_frame

            frame = judged_frame(chosen).drop(columns="device_title")
            st.dataframe(frame, hide_index=True, key="judged")
    st.download_button("These rows (CSV)", partial(_rows_csv, chosen), "sizer-evidence.csv", "text/csv")


def _rows_csv(chosen: Sequence[PredictedSpeed[PrintedSpeed]]) -> str:
    from reports.tables.evidence import judged_frame

    return judged_frame(chosen).to_csv(index=False)


def _show_device(name: str) -> None:
    st.subheader("Sources of a device's numbers", divider="gray")
    if name == ALL or name not in load_devices():
        st.caption("Choose a device above to see each of its numbers with its source and date.")
        return
    from reports.tables.evidence import facts_frame

    device = load_devices()[name]
    facts = facts_frame(device)
    rows = facts[["figure", "readable", "date", "source"]].astype(str).to_numpy().tolist()
    st.markdown(f"**{device.title}**")
    show_table(("figure", "value", "date", "source"), rows, text_columns=("source",))
    st.download_button("This device (CSV)", facts.to_csv(index=False), f"{name}.csv", "text/csv")


def _show_counts() -> None:
    st.subheader("Parameter counts", divider="gray")
    counts = exact_counts()
    exact = sum(count.difference == 0 for count in counts)
    st.caption(f"{exact} of {len(counts)} published exact counts are equal to the last digit.")
    with st.expander("Every count", key=COUNTS, on_change="rerun") as table:
        if table.open:
            from reports.tables.evidence import counts_frame

            whole = st.column_config.NumberColumn(format="localized")
            numbers = {name: whole for name in ("published", "calculated", "difference")}
            st.dataframe(counts_frame(), hide_index=True, key="counts", column_config=numbers)
    st.download_button("Counts (CSV)", _counts_csv, "sizer-counts.csv", "text/csv")


def _counts_csv() -> str:
    from reports.tables.evidence import counts_frame

    return counts_frame().to_csv(index=False)


page()
