"""Export on a page: files of a shape, and of a trial's kept weights with their proof."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.widgets.downloads import download_name
from explorer.widgets.html import show_table
from explorer.widgets.talk import show_talk
from reports.text.verification import COLUMNS, verification_notes, verification_rows
from reports.text.wording import escape_markdown
from search.export.exported import exported_paths
from search.export.layout import check_layout
from search.run.launch import program_document
from sizer.errors import InvalidFile, SizerError
from sizer.families.hf_config import config_from_architecture
from sizer.runtimes import runtime
from sizer.shape_code import shape_code
from sizer.units import format_bytes, format_count

if TYPE_CHECKING:
    from search.store.results import SearchResult, TrialRecord
    from sizer.architecture import Architecture

# Label: the target of `sizer export`.
_TARGETS = {"GGUF": "gguf", "Hugging Face folder": "hf"}
_CUSTOMARY = "Q8_0"  # of a study for another engine
_LIMIT_S = 900.0
_JSON, _ZIP, _ANY = "application/json", "application/zip", "application/octet-stream"


def show_shape_export(architecture: Architecture, *, key: str) -> None:
    """Draw what can be had of a shape without weights: its config.json, and a plan to train it."""
    try:
        config = config_from_architecture(architecture)
    except SizerError as error:  # a plan has the same configuration in it
        st.caption(escape_markdown(f"No config.json: {error}"))
        return
    row = st.container(horizontal=True)
    row.download_button(
        "config.json",
        json.dumps(config, indent=2),
        download_name(architecture.name, "config.json"),
        _JSON,
        key=f"{key}_config",
        on_click="ignore",
    )
    try:
        check_layout(architecture)
    except SizerError as error:
        st.caption(escape_markdown(f"No training plan: {error}"))
        return
    row.download_button(
        "Training plan (zip)",
        partial(training_plan_zip, architecture),
        download_name(architecture.name, "recipe.zip"),
        _ZIP,
        key=f"{key}_recipe",
        on_click="ignore",
    )


def training_plan_zip(architecture: Architecture) -> bytes:
    """Return the folder of `sizer export MODEL --to recipe` as a zip."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "recipe"
        arguments = ["export", f"shape:{shape_code(architecture)}", "--to", "recipe", "--out", str(made)]
        program_document(arguments, "", limit_s=_LIMIT_S)
        return zipped(made)


def zipped(folder: Path) -> bytes:
    """Return a folder's files as a zip."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return found.getvalue()


@st.fragment
def show_trial_export(result: SearchResult, record: TrialRecord, storage: str, *, key: str) -> None:
    """Draw the export of a trial's kept weights, its files with their proof, and a talk with a GGUF file."""
    study, number = result.study, record.number
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    label = left.selectbox("Export as", list(_TARGETS), key=f"{key}_target")
    target = _TARGETS[label]
    formats = runtime("llama.cpp").searchable_formats
    own = record.candidate.format if result.runtime == "llama.cpp" else _CUSTOMARY
    chosen = middle.selectbox(
        "Format", formats, index=formats.index(own), key=f"{key}_format", disabled=target != "gguf"
    )
    if right.button("Export", key=f"{key}_export", width="stretch"):
        arguments = ["export", study, str(number), "--to", target]
        arguments += ["--format", chosen] if target == "gguf" else []
        arguments += ["--proxy"] if record.scaled is not None else []
        _run(
            [*arguments],
            storage,
            key=f"{key}_done",
            what="Scoring the weights again and writing the file ...",
        )
    done = st.session_state.get(f"{key}_done")
    if done is not None and (done["study"], done["trial"]) == (study, number):
        st.caption(escape_markdown("; ".join(done["checks"])))
    paths = exported_paths(study, number, storage)
    if not paths:
        return
    path = st.selectbox("Exported", paths, key=f"{key}_path", format_func=lambda p: p.name)
    _show_file(path, result, record, storage, key=key)


def _show_file(path: Path, result: SearchResult, record: TrialRecord, storage: str, *, key: str) -> None:
    is_folder = path.is_dir()
    size = sum(p.stat().st_size for p in path.iterdir()) if is_folder else path.stat().st_size
    row = st.container(horizontal=True, vertical_alignment="center")
    row.markdown(escape_markdown(f"{path} ({size:,} bytes, {format_bytes(size)})"))
    name = f"{path.name}.zip" if is_folder else path.name
    row.download_button(
        "Download",
        partial(_content, path),
        download_name(result.study, name),
        _ZIP if is_folder else _ANY,
        key=f"{key}_download",
        on_click="ignore",
    )
    if is_folder:
        return
    if row.button("Verify", key=f"{key}_verify"):
        what = "Running the file in its engine ..."
        _run(["verify", str(path)], storage, key=f"{key}_verified", what=what, accepted=(0, 1))
    verified = st.session_state.get(f"{key}_verified")
    if verified is not None and verified["path"] == str(path):
        show_table(COLUMNS, verification_rows(verified["rows"]), text_columns=("agrees",))
        st.caption(escape_markdown("; ".join(verification_notes(verified["rows"]))))
    if path.suffix == ".gguf" and record.proxy is not None:
        trained = f"Trained on {format_count(record.proxy.trained_tokens)} tokens"
        with st.expander("Talk to it"):
            show_talk(path, trained=trained, key=f"{key}_talk")


def _content(path: Path) -> bytes:
    try:
        return zipped(path) if path.is_dir() else path.read_bytes()
    except OSError as error:
        raise InvalidFile(f"file: cannot read {str(path)!r}: {error.strerror or error}") from None


def _run(
    arguments: list[str], storage: str, *, key: str, what: str, accepted: tuple[int, ...] = (0,)
) -> None:
    """Run a command and keep its document in the session; draw its error."""
    st.session_state.pop(key, None)
    try:
        with st.spinner(what):
            document: Mapping[str, Any] = program_document(
                arguments, storage, limit_s=_LIMIT_S, accepted=accepted
            )
    except SizerError as error:
        st.error(escape_markdown(str(error)))
    else:
        st.session_state[key] = document
