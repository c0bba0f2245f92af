"""`sizer search run|presets|resume|status|frontier|report|list`: text to typed values, one call, print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.console import console, notice, out, out_json
from sizer.errors import InvalidQuantity
from sizer.units import format_bytes, format_count, format_seconds, parse_bytes

if TYPE_CHECKING:
    from search.config import SearchConfig
    from search.loop import Ending
    from search.results import SearchResult

app = typer.Typer(
    help="Search for the best model under a device's budget.",
    rich_markup_mode=None,
)

_STORAGE = typer.Option(help="Optuna storage URL. [sqlite:///runs/sizer.db]", show_default=False)
_JSON = typer.Option("--json", help="One JSON document on stdout.")
_NAME = typer.Argument(metavar="NAME", help="Name of the study.")


def _default_storage(storage: str | None) -> str:
    if storage is not None:
        return storage
    from search.study import default_storage

    return default_storage()


@app.command("run")
def run_command(
    config: Annotated[str | None, typer.Option(help="TOML file of settings.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Settings by name, of `sizer search presets`; override --config.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device to deploy on. [raspberry-pi-5]")] = None,
    max_size: Annotated[str | None, typer.Option(help="Largest model file, such as 2MB. [2MB]")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Most memory while running, such as 300MB.")] = None,
    min_decode: Annotated[float | None, typer.Option(help="Least tokens per second generated.")] = None,
    trials: Annotated[int | None, typer.Option(help="Models to train. [20]")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps a model. [1000]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of proposals, weights and batches. [0]")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="builtin, a text file or a directory, or hf:NAME. [builtin]")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Checkpoint (.npz) of a trained proxy to learn from as well.")
    ] = None,
    keep_finalists: Annotated[
        bool | None, typer.Option("--keep-finalists", help="Keep the last models' weights, in finalists/.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study. [search-N]")] = None,
    storage: Annotated[str | None, _STORAGE] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Train models that fit a device's budget and find the frontier of size against accuracy.

    Candidates that break the budget are never trained. Ctrl-C stops after the current step;
    `sizer search resume NAME` goes on. What is not set by an option is taken from --preset, then from
    --config, then from the defaults; docs/search.md has every field of the file.

    \b
    Examples:
      sizer search run --device raspberry-pi-5 --max-size 1MB --trials 12 --steps 300
      sizer search run --preset raspberry-pi-5-tiny --trials 12
      sizer search run --config space.toml --corpus ~/texts --study notes
      sizer search run --device iphone-15-pro --min-decode 200 --json
    """
    settings = _config(config, preset)
    given: dict[str, Any] = {
        "device": device,
        "max_size_bytes": parse_bytes(max_size, "max-size") if max_size is not None else None,
        "max_memory_bytes": parse_bytes(max_memory, "max-memory") if max_memory is not None else None,
        "min_decode_tokens_per_s": min_decode,
        "trials": trials,
        "steps": steps,
        "seed": seed,
        "corpus": corpus,
        "teacher": teacher,
        "keep_finalists": keep_finalists,
    }
    settings = replace(settings, **{key: value for key, value in given.items() if value is not None})
    url = _default_storage(storage)

    from search import runner

    def go(hook: Any) -> tuple[SearchResult, Ending]:
        return runner.run(settings, name=study, storage=url, hook=hook)

    _finish(go, url, json_output=json_output)


def _config(path: str | None, preset_name: str | None) -> SearchConfig:
    """The defaults, changed by a file, changed by a preset."""
    from search.config import config_from_dict, flat, read_toml

    values = flat(read_toml(Path(path)), path) if path is not None else {}
    if preset_name is not None:
        from search.presets import preset

        values |= preset(preset_name).values
    return config_from_dict(values, where=path or "config")


@app.command("presets")
def presets_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """List searches prepared for a device, or print one as TOML to start a file of your own from.

    \b
    Examples:
      sizer search presets
      sizer search presets raspberry-pi-5-tiny > mine.toml
    """
    from search.presets import preset, presets

    chosen = presets().values() if name is None else [preset(name)]
    if json_output:
        documents = [{"name": p.name, "about": p.about, "config": p.config.to_dict()} for p in chosen]
        out_json(documents[0] if name is not None else {"presets": documents})
    elif name is not None:
        print(preset(name).text, end="")
    else:
        from rich.table import Table

        table = Table(
            "name", "largest file", "vocabulary", "for", title="Presets of sizer search run --preset"
        )
        for p in chosen:
            table.add_row(p.name, format_bytes(p.config.max_size_bytes), f"{p.config.vocab_size:,}", p.about)
        out(table)


@app.command("resume")
def resume_command(
    name: Annotated[str, _NAME],
    trials: Annotated[int | None, typer.Option(help="Models to train in all. [as asked at first]")] = None,
    storage: Annotated[str | None, _STORAGE] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Go on with a study that was stopped or killed; finished trials are never repeated.

    \b
    Examples:
      sizer search resume search-1
      sizer search resume search-1 --trials 40
    """
    if trials is not None and trials < 1:
        raise InvalidQuantity(f"trials: must be 1 or more, got {trials}")
    url = _default_storage(storage)

    from search import runner

    def go(hook: Any) -> tuple[SearchResult, Ending]:
        return runner.resume(name, storage=url, trials=trials, hook=hook)

    _finish(go, url, json_output=json_output)


def _finish(go: Any, storage: str, *, json_output: bool) -> None:
    """Run a search under a progress bar, then write its report and print its frontier."""
    from commands.progress import search_progress
    from search.loop import Ending

    with search_progress(console(stderr=True)) as hook:
        result, ending = go(hook)
    if ending is Ending.STOPPED:
        notice(f"stopped; go on with: sizer search resume {result.study}")
        raise typer.Exit(130)
    if ending is Ending.EXHAUSTED:
        notice("the space holds no more new models that fit the budget; ended early")
    if json_output:
        from reports.documents import frontier_document

        _write_report(result, storage, None)
        out_json(frontier_document(result))
        return
    _print_frontier(result)
    page = _write_report(result, storage, None)
    print(f"report:   {page}")
    print("explorer: sizer app")


@app.command("status")
def status_command(
    name: Annotated[str, _NAME],
    storage: Annotated[str | None, _STORAGE] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """How far a study is: trials asked for, trained, diverged, infeasible.

    \b
    Examples:
      sizer search status search-1
    """
    from search.study import load_result

    result = load_result(name, _default_storage(storage))
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
        "trained_tokens": format_count(sum(p.trained_tokens for p in proxies)),
        "training_time": format_seconds(sum(p.wall_s for p in proxies)),
        "corpus": f"{result.corpus} {result.corpus_digest[:12]}",
    }


@app.command("frontier")
def frontier_command(
    name: Annotated[str, _NAME],
    storage: Annotated[str | None, _STORAGE] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Models that no other beats on both deployed size and accuracy.

    \b
    Examples:
      sizer search frontier search-1
      sizer search frontier search-1 --json
    """
    from search.study import load_result

    result = load_result(name, _default_storage(storage))
    if json_output:
        from reports.documents import frontier_document

        out_json(frontier_document(result))
    else:
        _print_frontier(result)
    if not result.trained:
        notice(f"no trial of {name} has been trained yet")
        raise typer.Exit(1)


def _print_frontier(result: SearchResult) -> None:
    from reports.frontier_text import frontier_table

    out(frontier_table(result))


@app.command("report")
def report_command(
    name: Annotated[str, _NAME],
    out_dir: Annotated[
        str | None, typer.Option("--out", help="Directory to write to. [runs/NAME]", show_default=False)
    ] = None,
    storage: Annotated[str | None, _STORAGE] = None,
) -> None:
    """Write the study's self-contained HTML page, CSV and JSON.

    \b
    Examples:
      sizer search report search-1
      sizer search report search-1 --out ~/reports/pi5
    """
    from search.study import load_result

    url = _default_storage(storage)
    print(_write_report(load_result(name, url), url, out_dir))


def _write_report(result: SearchResult, storage: str, out_dir: str | None) -> Path:
    from reports.page import write_report
    from search.kept import sqlite_path

    database = sqlite_path(storage)
    beside = database.parent if database is not None else Path("runs")
    return write_report(result, Path(out_dir) if out_dir is not None else beside / result.study).html


@app.command("list")
def list_command(
    storage: Annotated[str | None, _STORAGE] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Names of the studies in a storage.

    \b
    Examples:
      sizer search list
    """
    from search.study import list_studies

    names = list_studies(_default_storage(storage))
    if json_output:
        out_json({"studies": list(names)})
    else:
        for name in names:
            print(name)
