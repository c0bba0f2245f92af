"""`sizer search status|frontier|trust|report|list`: read stored studies."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.console import JSON, OUTPUT, Form, chosen_form, console, notice, out, out_json, out_rows
from sizer.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from search.run.launch import Activity
    from search.store.results import SearchResult

app = typer.Typer(
    help="Search for the best model under a device's budget.",
    rich_markup_mode=None,
)

STORAGE = typer.Option(help="Optuna storage URL. [sqlite:///runs/sizer.db]", show_default=False)
NAME = typer.Argument(metavar="NAME", help="Name of the study.")

_HANGING = " " * 4  # before the second line of a decision


def default_storage(storage: str | None) -> str:
    if storage is not None:
        return storage
    from search.store.storage import default_storage

    return default_storage()


@app.command("status")
def status_command(
    name: Annotated[str, NAME],
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Show the progress of a study: trials by outcome, and which models each rung promoted and why.

    Also shows the models in training and the time left, whichever process runs the search.

    \b
    Examples:
      sizer search status search-1
    """
    from reports.export.documents import rung_document
    from reports.text.rungs import rung_lines
    from search.analysis.rung_history import rung_history
    from search.run.launch import activity
    from search.store.study import load_result

    url = default_storage(storage)
    result, now = load_result(name, url), activity(name, url)
    document, history = _status(result), rung_history(result)
    if json_output:
        out_json({**document, "rungs": rung_document(history), **_live(now)})
        return
    for key, value in (document | _live_texts(now)).items():
        print(f"{key:<18} {value}")
    for line in rung_lines(history):
        print(line)


def _live(now: Activity) -> dict[str, Any]:
    """Return the state of the study's process; `live` is null unless it trains."""
    live = now.live if now.live is not None and now.live.is_running else None
    return {
        "state": _state(now),
        "process": now.owner["pid"] if now.owner is not None else None,
        "reason": now.reason,
        "live": None
        if live is None
        else {
            "done_steps": live.done_steps,
            "total_steps": live.total_steps,
            "eta_s": live.eta_s,
            "tokens_per_s": live.tokens_per_s,
            "best_trial": live.best_trial,
            "in_training": [run._asdict() for run in live.in_training],
        },
    }


def _state(now: Activity) -> str | None:
    return "starting" if now.is_starting else now.state and now.state.value


def _live_texts(now: Activity) -> dict[str, str]:
    state = _state(now) or "unknown"
    texts = {"state": state + (f", process {now.owner['pid']}" if now.owner is not None else "")}
    if now.reason:
        texts["reason"] = now.reason
    live = now.live
    if live is not None and live.is_running:
        left = "" if live.eta_s is None else f", about {format_seconds(live.eta_s)} left"
        texts["steps"] = f"{live.done_steps:,} of {live.total_steps:,}{left}"
        for run in live.in_training:
            loss = "" if run.loss is None else f", {run.loss:.3f} nats/token"
            texts[f"trial {run.number}"] = (
                f"{run.model} {run.format}, rung {run.rung + 1}, step {run.step:,} of {run.steps:,}{loss}"
            )
    return texts


def _status(result: SearchResult) -> dict[str, Any]:
    from search.analysis.frontier import frontier

    counts: dict[str, int] = {}
    for record in result.records:
        if record.repeats is None:
            counts[record.status.value] = counts.get(record.status.value, 0) + 1
    proxies = [r.proxy for r in result.records if r.proxy and r.repeats is None]
    return {
        "study": result.study,
        "device": result.device,
        "max_size": format_bytes(result.budget["max_size_bytes"] or 0),
        "trials_requested": result.trials_requested,
        **{status: counts.get(status, 0) for status in ("complete", "diverged", "failed", "infeasible")},
        "repeated": sum(1 for r in result.records if r.repeats is not None),
        "on_frontier": len(frontier(result)),
        **_proxies(result),
        "trained_tokens": format_count(sum(p.trained_tokens for p in proxies)),
        "training_time": format_seconds(sum(p.wall_s for p in proxies)),
        "corpus": f"{result.corpus} {result.corpus_digest[:12]}",
    }


def _proxies(result: SearchResult) -> dict[str, Any]:
    """Return how proxies were scaled, and the score expected of the frontier's best model at full size."""
    from reports.text.scaled_proxies import extrapolated_text, scale_text
    from search.analysis.frontier import frontier
    from search.analysis.ranking import are_scaled, extrapolation_of

    if not are_scaled(result):
        return {}
    found, front = extrapolation_of(result), frontier(result)
    best = found.predictions.get(front[-1].number) if found and front else None
    return {"proxies": scale_text(result), "best_model_itself": extrapolated_text(best)}


@app.command("frontier")
def frontier_command(
    name: Annotated[str, NAME],
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Show the models that no other beats on both file size and accuracy.

    \b
    Examples:
      sizer search frontier search-1
      sizer search frontier search-1 --json
      sizer search frontier search-1 -o csv > points.csv
    """
    from search.store.study import load_result

    result = load_result(name, default_storage(storage))
    form = chosen_form(json_output, output)
    if form is not Form.TABLE:
        from reports.export.documents import frontier_document

        out_rows(frontier_document(result), "points", form)
    else:
        print_frontier(result)
    if not result.trained:
        notice(f"no trial of {name} has been trained yet")
        raise typer.Exit(1)


def print_decisions(result: SearchResult) -> None:
    """Print how many decisions are settled, and the first of them."""
    from reports.text.decisions import decision_lines, decisions_of

    found = decisions_of(result)
    for line in decision_lines(found) if found is not None else ():
        for part in wrap(line, console().width, subsequent_indent=_HANGING):
            print(part)


def print_frontier(result: SearchResult) -> None:
    """Print the first decisions, the frontier as a table, then how reliable its ranking is."""
    from reports.text.common_model import common_model_text
    from reports.text.frontier import frontier_table
    from reports.text.scaled_proxies import frontier_notes
    from reports.text.trust import trust_line

    print_decisions(result)
    out(frontier_table(result))
    if text := common_model_text(result):
        print(f"devices:  {text}")
    for note in frontier_notes(result):  # the report has more
        print(f"proxies:  {note}")
    if result.trained:
        for part in wrap(f"trust:    {trust_line(result)}", console().width, subsequent_indent=10 * " "):
            print(part)


@app.command("trust")
def trust_command(
    name: Annotated[str, NAME],
    control: Annotated[
        str | None, typer.Option(help="Study to compare hypervolume with, such as one with --sampler random.")
    ] = None,
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Report rank reliability: rankings from short runs against longer runs and parameter count.

    Exits with 1 if no model was trained beyond the first rung.

    \b
    Examples:
      sizer search trust search-1
      sizer search trust guided --control random --json
    """
    from reports.export.documents import trust_document
    from reports.text.trust import trust_table
    from search.analysis.reliability import rung_trust
    from search.store.study import load_result

    url = default_storage(storage)
    result = load_result(name, url)
    other = load_result(control, url) if control is not None else None
    reports = rung_trust(result)
    form = chosen_form(json_output, output)
    if form is not Form.TABLE:
        out_rows(trust_document(result, reports, other), "rungs", form)
    else:
        out(trust_table(result, reports, other))
    if not reports:
        notice(f"no model of {name} was trained beyond the first rung: raise --steps or --rungs")
        raise typer.Exit(1)


@app.command("report")
def report_command(
    name: Annotated[str, NAME],
    out_dir: Annotated[
        str | None, typer.Option("--out", help="Output directory. [runs/NAME]", show_default=False)
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Also write PNG, SVG and PDF with an installed Chromium.")
    ] = False,
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Write the study as a page that opens offline, and its tables as CSV, Parquet and JSON.

    \b
    Examples:
      sizer search report search-1
      sizer search report search-1 --images --out ~/reports/pi5
    """
    from commands.pages import write_study_files
    from search.store.study import load_result

    url = default_storage(storage)
    files = write_study_files(load_result(name, url), url, out_dir, images=images)
    for note in files.notes:
        notice(note)
    form = chosen_form(json_output, output)
    paths = [str(path) for path in files.others.values()]
    if form is Form.JSON:
        out_json({"schema": "sizer.report/1", "html": str(files.html), "files": paths, "notes": files.notes})
    elif form is not Form.TABLE:
        out_rows({"files": [{"file": path} for path in (str(files.html), *paths)]}, "files", form)
    else:
        print(files.html)


def write_study_report(result: SearchResult, storage: str, out_dir: str | None) -> Path:
    """Write a study's page and its files; return the page's path."""
    from commands.pages import write_study_files

    return write_study_files(result, storage, out_dir).html


@app.command("list")
def list_command(
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """List the studies in a storage.

    \b
    Examples:
      sizer search list
    """
    from search.store.study import list_studies

    names = list_studies(default_storage(storage))
    form = chosen_form(json_output, output)
    if form is Form.JSON:
        out_json({"studies": list(names)})
    elif form is not Form.TABLE:
        out_rows({"studies": [{"study": name} for name in names]}, "studies", form)
    else:
        for name in names:
            print(name)
