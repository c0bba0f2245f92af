"""The search page's view of several studies: frontiers in one figure, hypervolumes to one reference point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.pages.search.controls import STUDIES
from explorer.pages.search.studies import load, stored_studies
from explorer.widgets.charts import show_figure
from explorer.widgets.controls import choices
from explorer.widgets.html import show_table
from explorer.widgets.study_views import show_export, show_model
from reports.figures.searches import MOST_STUDIES, fronts_figure, fronts_info
from reports.text.scaled_proxies import ranks_extrapolated
from reports.text.trust import trained_tokens
from reports.text.wording import budget_texts, escape_markdown
from search.analysis.frontier import frontier
from search.analysis.reliability import side_by_side
from sizer.errors import SizerError
from sizer.units import format_count

if TYPE_CHECKING:
    from search.store.results import SearchResult

HEAD = ("study", "sampler", "steps", "finalists", "on the frontier", "tokens trained", "hypervolume")


def compare_view(storage: str) -> None:
    """Draw the view."""
    names = stored_studies(storage)
    # a link may name other studies, and a study may have been removed
    kept = [name for name in st.session_state[STUDIES.key] if name in names]
    st.session_state[STUDIES.key] = kept[:MOST_STUDIES]
    chosen = choices(STUDIES._replace(options=names, free=False), max_selections=MOST_STUDIES)
    results = []
    for name in chosen:
        try:
            result = load(name, storage)[1]
        except SizerError as error:
            st.error(escape_markdown(str(error)))
            continue
        if result.trained:
            results.append(result)
        else:
            st.info(escape_markdown(f"Study {name} has no trained model yet."))
    if len(results) < 2:
        st.info("Choose two or more studies with trained models.")
        return
    _show(results, storage)


def compared_rows(results: list[SearchResult]) -> tuple[tuple[str, ...], ...]:
    """Return a row for each study, in the columns of HEAD."""
    volumes = side_by_side(results)
    return tuple(
        (
            result.study,
            str(result.settings.get("sampler", "-")),
            str(result.settings.get("rungs", result.settings["steps"])),
            str(len(result.finalists)),
            str(len(frontier(result))),
            format_count(trained_tokens(result)),
            f"{volume:.4f}",
        )
        for result, volume in zip(results, volumes, strict=True)
    )


def _show(results: list[SearchResult], storage: str) -> None:
    info = fronts_info(results)
    alt = f"Frontiers of {len(results)} studies: validation bits per byte against file size"
    event = show_figure(
        fronts_figure(info),
        key="search_fronts",
        on_select="rerun",
        selection_mode="points",
        alt=alt,
    )
    show_table(HEAD, compared_rows(results), text_columns=("sampler",))
    st.caption(
        "Hypervolume: the area of file size (natural logarithm of bytes) times bits per byte that a frontier "
        "dominates, up to one reference point for all; larger is better. It compares searches of the same "
        "budget, text and number of tokens."
    )
    for note in differences(results):
        st.warning(escape_markdown(note))
    chosen = _clicked(event, results)
    if chosen is None:
        st.caption("Click a point to see its model.")
        return
    result, number = chosen
    record = next(r for r in result.trained if r.number == number)
    st.markdown(f"Study **{escape_markdown(result.study)}**")
    show_model(result, record, key="search_compared_model")
    show_export(result, record, storage, key="search_compared_export")


def differences(results: list[SearchResult]) -> list[str]:
    """Return reasons why the studies are not comparable."""
    notes = []
    if len({r.corpus_digest for r in results}) > 1:
        texts = ", ".join(f"{r.study}: {r.corpus} {r.corpus_digest[:12]}" for r in results)
        notes.append(f"They were trained and scored on different texts ({texts}).")
    if len({(r.device, budget_texts(r)) for r in results}) > 1:
        budgets = "; ".join(
            f"{r.study}: {', '.join((r.device or 'no device', *budget_texts(r)))}" for r in results
        )
        notes.append(f"They had different budgets ({budgets}).")
    carried = [r.study for r in results if ranks_extrapolated(r)]
    if len(carried) == len(results):
        notes.append(
            "Their scores are extrapolated to the models by a law each: a difference between studies has the "
            "errors of both. Hypervolume is of the trained proxies."
        )
    elif carried:
        notes.append(
            f"Scores of {', '.join(carried)} are extrapolated to the models by the law, those of the others "
            "are of the trained models, as is all hypervolume."
        )
    return notes


def _clicked(event: Any, results: list[SearchResult]) -> tuple[SearchResult, int] | None:
    """Return the study and the trial of the clicked point."""
    by_name = {result.study: result for result in results}
    for point in event["selection"]["points"]:
        match point.get("customdata"):
            case [str(study), int(number)] if study in by_name and _has(by_name[study], number):
                return by_name[study], number
    return None


def _has(result: SearchResult, number: int) -> bool:
    return any(record.number == number for record in result.trained)
