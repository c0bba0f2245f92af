"""`sizer search status|frontier|trust|report|list`: what a stored study says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.console import notice, out, out_json
from sizer.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from search.results import SearchResult

app = typer.Typer(
    help="Search for the best model under a device's budget.",
    rich_markup_mode=None,
)

STORAGE = typer.Option(help="Optuna storage URL. [sqlite:///runs/sizer.db]", show_default=False)
JSON = typer.Option("--json", help="One JSON document on stdout.")
NAME = typer.Argument(metavar="NAME", help="Name of the study.")


def default_storage(storage: str | None) -> str:
    if storage is not None:
        return storage
    from search.study import default_storage

    return default_storage()


@app.command("status")
def status_command(
    name: Annotated[str, NAME],
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """How far a study is: trials asked for, trained, diverged, infeasible.

    \b
    Examples:
      sizer search status search-1
    """
    from search.study import load_result

    result = load_result(name, default_storage(storage))
    document = _status(result)
    if json_output:
        out_json(document)
        return
    for key, value in document.items():
        print(f"{key:<18} {value}")


def _status(result: SearchResult) -> dict[str, Any]:
    from search.pareto import frontier

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
    """How proxies were scaled, and what the frontier's best is expected to score itself."""
    from reports.proxies import are_scaled, carried, carried_text, scale_text
    from search.pareto import frontier

    if not are_scaled(result):
        return {}
    found, front = carried(result), frontier(result)
    best = found.predictions.get(front[-1].number) if found and front else None
    return {"proxies": scale_text(result), "best_model_itself": carried_text(best)}


@app.command("frontier")
def frontier_command(
    name: Annotated[str, NAME],
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Models that no other beats on both deployed size and accuracy.

    \b
    Examples:
      sizer search frontier search-1
      sizer search frontier search-1 --json
    """
    from search.study import load_result

    result = load_result(name, default_storage(storage))
    if json_output:
        from reports.documents import frontier_document

        out_json(frontier_document(result))
    else:
        print_frontier(result)
    if not result.trained:
        notice(f"no trial of {name} has been trained yet")
        raise typer.Exit(1)


def print_frontier(result: SearchResult) -> None:
    """The frontier as a table, and under it how far to trust it."""
    from reports.frontier_text import frontier_table
    from reports.proxies import proxy_notes
    from reports.trust_text import trust_line

    out(frontier_table(result))
    for note in proxy_notes(result)[:3]:  # the report has all
        print(f"proxies:  {note}")
    if result.trained:
        print(f"trust:    {trust_line(result)}")


@app.command("trust")
def trust_command(
    name: Annotated[str, NAME],
    control: Annotated[
        str | None, typer.Option(help="Study to compare hypervolume with, such as one of --sampler random.")
    ] = None,
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """How far a study's ranking can be believed: short runs against longer ones, and against counting.

    Exits with 1 where no model was trained beyond the first rung: then nothing is known.

    \b
    Examples:
      sizer search trust search-1
      sizer search trust guided --control random --json
    """
    from reports.trust_text import trust_document, trust_table
    from search.study import load_result
    from search.trust import rung_trust

    url = default_storage(storage)
    result = load_result(name, url)
    other = load_result(control, url) if control is not None else None
    reports = rung_trust(result)
    if json_output:
        out_json(trust_document(result, reports, other))
    else:
        out(trust_table(result, reports, other))
    if not reports:
        notice(f"no model of {name} was trained beyond the first rung: raise --steps or --rungs")
        raise typer.Exit(1)


@app.command("report")
def report_command(
    name: Annotated[str, NAME],
    out_dir: Annotated[
        str | None, typer.Option("--out", help="Directory to write to. [runs/NAME]", show_default=False)
    ] = None,
    storage: Annotated[str | None, STORAGE] = None,
) -> None:
    """Write the study's self-contained HTML page, CSV and JSON.

    \b
    Examples:
      sizer search report search-1
      sizer search report search-1 --out ~/reports/pi5
    """
    from search.study import load_result

    url = default_storage(storage)
    print(write_study_report(load_result(name, url), url, out_dir))


def write_study_report(result: SearchResult, storage: str, out_dir: str | None) -> Path:
    """Write a study's page, CSV and JSON; the page's path."""
    from reports.page import write_report
    from search.kept import sqlite_path

    database = sqlite_path(storage)
    beside = database.parent if database is not None else Path("runs")
    return write_report(result, Path(out_dir) if out_dir is not None else beside / result.study).html


@app.command("list")
def list_command(
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Names of the studies in a storage.

    \b
    Examples:
      sizer search list
    """
    from search.study import list_studies

    names = list_studies(default_storage(storage))
    if json_output:
        out_json({"studies": list(names)})
    else:
        for name in names:
            print(name)
