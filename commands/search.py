"""`sizer search run|resume|presets`: train models that fit a budget; prepared settings."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import search_decisions, search_reproduce  # noqa: F401  imports add their commands to `app`
from commands.console import JSON, notice, out, out_json
from commands.search_studies import (
    NAME,
    STORAGE,
    app,
    default_storage,
    print_frontier,
    write_study_report,
)
from search.config.options import OPTIONS, values_of
from sizer.errors import InvalidQuantity
from sizer.units import format_bytes

if TYPE_CHECKING:
    from search.config.config import SearchConfig
    from search.run.loop import LoopEnding
    from search.run.progress import SearchProgress
    from search.run.tasks import ClusterRequest
    from search.store.results import SearchResult

CLUSTER = typer.Option(
    help="Train on a cluster: tcp://HOST:8786, or slurm:queue=NAME,walltime=HH:MM:SS; see `sizer cluster`."
)


_RUN_HELP = """Train models that fit a device's budget and find the frontier of costs against accuracy.

Candidates over the budget are never trained. Ctrl-C stops after the current step;
`sizer search resume NAME` continues. Options override --config, which overrides --preset, which overrides
the defaults. Every field of the file is an option here and the other way round: `layers = "4:48"`. Values of
a list are separated by commas; docs/search.md explains them.

\b
Examples:
  sizer search run --device raspberry-pi-5 --max-size 1MB --trials 12 --steps 300
  sizer search run --preset raspberry-pi-5-tiny --trials 12
  sizer search run --config space.toml --corpus ~/texts --study notes
  sizer search run --trials 30 --steps 9000 --workers 2 --dry-run
  sizer search run --minutes 30
  sizer search run --layers 4:48 --hidden-size 64:512 --format Q4_0,Q8_0 --cache-type F16,Q8_0
  sizer search run --runtime executorch --objective energy --objective bytes --max-size 4MB
  sizer search run --device raspberry-pi-5 --device pixel-8 --max-memory 100MB --min-decode 50
  sizer search run --corpus stories.jsonl.gz:story --tokenizer bpe --vocab-size 512,1024,2048
  sizer search run --device iphone-15-pro --min-decode 200 --json
  sizer search run --preset raspberry-pi-5-125m --proxy-width-scale 0.25
  sizer search run --workers 8 --cluster tcp://head:8786
"""

_OWN_OPTIONS: dict[str, tuple[Any, Any]] = {
    "config": (str | None, typer.Option(help="TOML file with settings.")),
    "preset": (str | None, typer.Option(help="Preset by name, see `sizer search presets`.")),
    "ram": (str | None, typer.Option(help="Variant of the device by its RAM, such as 4GB.")),
    "backend": (
        str | None,
        typer.Option(help="What the engine runs on: cpu, gpu or npu. [the engine's choice]"),
    ),
    "minutes": (
        float | None,
        typer.Option(help="Time limit: chooses the number of models, or with --trials the steps."),
    ),
    "cluster": (str | None, CLUSTER),
    "threads": (
        int | None,
        typer.Option(help="Threads that train a model on a cluster. [cores / workers]", min=1),
    ),
    "study": (str | None, typer.Option(help="Name of the study. [search-N]")),
    "storage": (str | None, STORAGE),
}
_OWN_FLAGS: dict[str, Any] = {
    "dry_run": typer.Option("--dry-run", help="Estimate the time and train nothing."),
    "json_output": JSON,
}


def _parameters() -> list[inspect.Parameter]:
    """Return the parameters of `run`: its own, and one for each option that fields of a search declare."""
    found: list[tuple[str, Any, Any]] = [
        (name, Annotated[kind, option], None) for name, (kind, option) in _OWN_OPTIONS.items()
    ]
    for key, one in OPTIONS.items():
        kind: Any = bool if one.is_flag else str
        option = (
            typer.Option(help=one.help, show_default=False)
            if one.is_flag
            else typer.Option(f"--{one.name}", help=one.help, show_default=False)
        )
        found.append((key, Annotated[(list[str] if one.is_list else kind) | None, option], None))
    found += [(name, Annotated[bool, option], False) for name, option in _OWN_FLAGS.items()]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(n, keyword, annotation=kind, default=default) for n, kind, default in found]


def run_command(**given: Any) -> None:
    """Read the options of `run`, forecast the search and run it."""
    settings = _config(given["config"], given["preset"])
    asked: dict[str, Any] = {}
    for key, option in OPTIONS.items():
        if given[key] is not None and given[key] != []:
            asked |= values_of(option, given[key])
    if given["ram"] is not None or given["backend"] is not None:
        from sizer.devices.catalogue import device_name

        first = asked.get("device", settings.budget.device)
        asked["device"] = device_name(first, given["ram"], given["backend"])
    settings = settings.changed(**asked)
    url, study = default_storage(given["storage"]), given["study"]

    from search.run import runner
    from search.run.default_proxies import with_default_proxies
    from search.run.places import corpus_of, with_a_worker_for_each_card
    from search.store.study import check_new_study

    request = _cluster(given["cluster"], given["threads"])
    if request is None and "workers" not in asked and not _names_workers(given["config"]):
        settings = with_a_worker_for_each_card(settings)
    if request is not None and (given["minutes"] is not None or given["dry_run"]):
        raise InvalidQuantity(
            "minutes, dry-run: how fast a cluster trains is not known before; accepted: --trials and --steps"
        )
    # report bad input before anything is timed
    runner.check(settings, trains_here=request is None)
    settings = with_default_proxies(settings)
    texts = corpus_of(settings, url)()
    if not given["dry_run"]:
        check_new_study(study, url)
    if request is None:
        settings = _forecast(settings, given["minutes"], keep_trials=given["trials"] is not None)
    if given["dry_run"]:
        return

    def go(hook: Any) -> tuple[SearchResult, LoopEnding]:
        return runner.run(settings, name=study, storage=url, hook=hook, corpus=texts, cluster=request)

    _finish(go, url, json_output=given["json_output"])


run_command.__signature__ = inspect.Signature(_parameters())  # type: ignore[attr-defined]
app.command("run", help=_RUN_HELP)(run_command)


def _cluster(where: str | None, threads: int | None = None) -> ClusterRequest | None:
    if where is None:
        if threads is not None:
            raise InvalidQuantity("threads: goes with --cluster; a local search divides this machine's cores")
        return None
    from search.run.cluster_address import parse_cluster
    from search.run.tasks import ClusterRequest

    parse_cluster(where)  # refused before a text is loaded
    return ClusterRequest(where=where, threads=threads)


def _forecast(settings: SearchConfig, minutes: float | None, *, keep_trials: bool) -> SearchConfig:
    """Print a forecast on stderr; with a time limit, return the search that fits into it."""
    from commands.progress import progress
    from reports.text.wording import scales_text
    from search.run.forecast import checkpoint_bytes, forecast, step_seconds, within
    from search.run.launch import TIMING
    from sizer.units import format_bytes

    if minutes is not None and not 0 < minutes <= 100_000:
        raise InvalidQuantity(f"minutes: must be more than 0 and at most 100000, got {minutes:g}")
    with progress("timing models") as report:
        step_s = step_seconds(
            settings, lambda done, of: report(f"{TIMING}{done + 1} of {of}", done, of, "models of the space")
        )
    if minutes is not None:
        settings = within(settings, 60 * minutes, step_s, keep_trials=keep_trials)
    expected = forecast(settings, step_s)
    if text := scales_text(settings.training.proxy_width_scale, settings.training.proxy_vocab_size):
        notice(f"proxies {text} are trained instead of the models")
    disk = format_bytes(checkpoint_bytes(settings))
    notice(f"forecast: {expected.text()}, up to {disk} of checkpoints{expected.doubt}")
    return settings


def _config(path: str | None, preset_name: str | None) -> SearchConfig:
    """Return the defaults, overridden by a preset, then by a file."""
    from search.config.config import SearchConfig
    from search.config.reading import field_values, read_toml

    values: dict[str, Any] = {}
    if preset_name is not None:
        from search.config.presets import preset

        values |= field_values(preset(preset_name).values, f"preset {preset_name}")
    if path is not None:
        values |= field_values(read_toml(Path(path)), path)
    return SearchConfig.build(**values)


def _names_workers(path: str | None) -> bool:
    """Return True if a configuration file says how many models are trained at the same time."""
    from search.config.reading import field_values, read_toml

    return path is not None and "workers" in field_values(read_toml(Path(path)), path)


@app.command("presets")
def presets_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """List presets for devices, or print one as TOML to start your own file from.

    \b
    Examples:
      sizer search presets
      sizer search presets raspberry-pi-5-tiny > mine.toml
    """
    from search.config.presets import preset, presets

    chosen = presets().values() if name is None else [preset(name)]
    if json_output:
        documents = [{"name": p.name, "about": p.about, "config": p.config.to_dict()} for p in chosen]
        out_json(documents[0] if name is not None else {"presets": documents})
    elif name is not None:
        print(preset(name).text, end="")
    else:
        from reports.text.text_table import Column, TextTable

        out(
            TextTable(
                title="Presets of sizer search run --preset",
                columns=(
                    Column(name="name", is_key=True),
                    Column(name="max file size", right=True),
                    Column(name="vocabulary", right=True),
                    Column(name="for"),
                ),
                rows=tuple(
                    (
                        p.name,
                        format_bytes(p.config.budget.max_size_bytes),
                        ", ".join(f"{rows:,}" for rows in p.config.space.vocab_size),
                        p.about,
                    )
                    for p in chosen
                ),
            )
        )


@app.command("resume")
def resume_command(
    name: Annotated[str, NAME],
    trials: Annotated[int | None, typer.Option(help="Total number of models to train. [as in `run`]")] = None,
    cluster: Annotated[str | None, CLUSTER] = None,
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Continue a study that was stopped or killed; finished trials are never repeated.

    \b
    Examples:
      sizer search resume search-1
      sizer search resume search-1 --trials 40
    """
    if trials is not None and trials < 1:
        raise InvalidQuantity(f"trials: must be 1 or more, got {trials}")
    url = default_storage(storage)

    from search.run import runner

    def go(hook: Any) -> tuple[SearchResult, LoopEnding]:
        return runner.resume(name, storage=url, trials=trials, hook=hook, cluster=_cluster(cluster))

    _finish(go, url, json_output=json_output)


def _finish(go: Any, storage: str, *, json_output: bool) -> None:
    """Run a search with a progress bar, then write its report and print its frontier."""
    from commands.progress import progress
    from search.run.loop import LoopEnding

    with progress("measuring this machine") as report:
        result, ending = go(lambda p: report(f"{p.study} {_stage(p)}", p.done_steps, p.total_steps, _note(p)))
    if ending is LoopEnding.STOPPED:
        notice(f"stopped; continue with: sizer search resume {result.study}")
        raise typer.Exit(130)
    if ending is LoopEnding.EXHAUSTED:
        notice("no more new models in the space fit the budget; ended early")
    if json_output:
        from reports.export.documents import frontier_document

        write_study_report(result, storage, None)
        out_json(frontier_document(result))
        return
    print_frontier(result)
    page = write_study_report(result, storage, None)
    print(f"report:   {page}")
    _print_export(result, storage)
    print("explorer: sizer app")


def _print_export(result: SearchResult, storage: str) -> None:
    """Print the command that makes a file of the most accurate model whose weights are kept."""
    from search.store.folders import kept_weights

    kept = kept_weights(result.study, storage)
    scores = {
        record.number: record.proxy.val_bits_per_byte
        for record in result.finalists
        if record.number in kept and record.scaled is None and record.proxy is not None
    }
    known = {number: score for number, score in scores.items() if score is not None}
    if known:
        print(f"export:   sizer export {result.study} {min(known, key=known.__getitem__)}")


def _stage(progress: SearchProgress) -> str:
    """Return how many of the models are trained; in later rungs the rung."""
    if progress.rung == 0 or progress.candidate is None:
        return f"{progress.trained}/{progress.wanted}"
    return f"rung {progress.rung + 1}/{progress.rungs}"


def _note(progress: SearchProgress) -> str:
    """Return the model in training, the speed and the best score so far."""
    parts = []
    if progress.candidate is not None:
        parts.append(f"{progress.candidate.architecture.name} {progress.candidate.format}")
    if progress.tokens_per_s:
        parts.append(f"{progress.tokens_per_s / 1000:.1f}k tokens/s")
    best = progress.best
    if best is not None and best.proxy is not None:
        whose = "best" if best.scaled is None else "best proxy"
        parts.append(f"{whose} {best.proxy.val_bits_per_byte:.3f} bits/byte (trial {best.number})")
    if progress.infeasible:
        parts.append(f"{progress.infeasible} over budget")
    return "  ".join(parts)
