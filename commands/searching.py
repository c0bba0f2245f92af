"""`sizer search run|resume|presets`: text to typed values, one call, print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import reproducing  # noqa: F401  it adds its command to `app`
from commands.console import console, notice, out, out_json
from commands.studies import JSON, NAME, STORAGE, app, default_storage, print_frontier, write_study_report
from sizer.errors import InvalidQuantity
from sizer.units import format_bytes, parse_bytes

if TYPE_CHECKING:
    from search.run.loop import Ending
    from search.space.config import SearchConfig
    from search.store.results import SearchResult


@app.command("run")
def run_command(
    config: Annotated[str | None, typer.Option(help="TOML file of settings.")] = None,
    preset: Annotated[str | None, typer.Option(help="Settings by name, of `sizer search presets`.")] = None,
    device: Annotated[str | None, typer.Option(help="Device to deploy on. [raspberry-pi-5]")] = None,
    max_size: Annotated[str | None, typer.Option(help="Largest model file, such as 2MB. [2MB]")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Most memory while running, such as 300MB.")] = None,
    min_decode: Annotated[float | None, typer.Option(help="Least tokens per second generated.")] = None,
    trials: Annotated[int | None, typer.Option(help="Models to train. [20]")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Optimizer steps of the models that go furthest. [1000]")
    ] = None,
    rungs: Annotated[
        int | None, typer.Option(help="Rungs of growing length, none below 1000 steps. [3]")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="auto, law, gp, tpe, nsga2, random or quasi-random. [auto]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Models trained at a time, each on its own cores. [1]")
    ] = None,
    train_on: Annotated[
        str | None, typer.Option(help="cpu, cuda or mps; the last two are untried by us. [cpu]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of proposals, weights and batches. [0]")] = None,
    corpus: Annotated[
        str | None,
        typer.Option(
            help="builtin, hf:NAME, or a text, JSONL or Parquet file (.gz too) or a directory of them; "
            ":FIELD behind it names the field of rows. [builtin]"
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Time the search may take: as many models as fit, or fewer steps with --trials."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the search would take, and train nothing.")
    ] = False,
    tokenizer: Annotated[
        str | None, typer.Option(help="byte, or bpe learned from the corpus, of --vocab-size. [byte]")
    ] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Rows of the embedding table. [256]")] = None,
    proxy_width_scale: Annotated[
        float | None,
        typer.Option(help="Train proxies so many times as wide as the models, such as 0.25. [1]"),
    ] = None,
    proxy_vocab_size: Annotated[
        int | None, typer.Option(help="Rows of the proxies' embedding table. [that of the models]")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Checkpoint (.npz) of a trained proxy to learn from as well.")
    ] = None,
    keep_finalists: Annotated[
        bool | None, typer.Option("--keep-finalists", help="Keep the last models' weights, in finalists/.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study. [search-N]")] = None,
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Train models that fit a device's budget and find the frontier of size against accuracy.

    Candidates that break the budget are never trained. Ctrl-C stops after the current step;
    `sizer search resume NAME` goes on. What is not set by an option is taken from --config, then from
    --preset, then from the defaults; docs/search.md has every field of the file.

    \b
    Examples:
      sizer search run --device raspberry-pi-5 --max-size 1MB --trials 12 --steps 300
      sizer search run --preset raspberry-pi-5-tiny --trials 12
      sizer search run --config space.toml --corpus ~/texts --study notes
      sizer search run --trials 30 --steps 9000 --workers 2 --dry-run
      sizer search run --minutes 30
      sizer search run --corpus stories.jsonl.gz:story --tokenizer bpe --vocab-size 1024
      sizer search run --device iphone-15-pro --min-decode 200 --json
      sizer search run --preset raspberry-pi-5-125m --proxy-width-scale 0.25
    """
    settings = _config(config, preset)
    given: dict[str, Any] = {
        "device": device,
        "max_size_bytes": parse_bytes(max_size, "max-size") if max_size is not None else None,
        "max_memory_bytes": parse_bytes(max_memory, "max-memory") if max_memory is not None else None,
        "min_decode_tokens_per_s": min_decode,
        "trials": trials,
        "steps": steps,
        "rungs": rungs,
        "sampler": sampler,
        "workers": workers,
        "train_on": train_on,
        "seed": seed,
        "corpus": corpus,
        "tokenizer": tokenizer,
        "vocab_size": vocab_size,
        "proxy_width_scale": proxy_width_scale,
        "proxy_vocab_size": proxy_vocab_size,
        "teacher": teacher,
        "keep_finalists": keep_finalists,
    }
    settings = replace(settings, **{key: value for key, value in given.items() if value is not None})
    url = default_storage(storage)

    from search.run import runner
    from search.store.study import check_new_study

    # what can be refused is refused before anything is timed
    runner.check(settings)
    texts = runner.corpus_of(settings, url)()
    if not dry_run:
        check_new_study(study, url)
    settings = _forecast(settings, minutes, keep_trials=trials is not None)
    if dry_run:
        return

    def go(hook: Any) -> tuple[SearchResult, Ending]:
        return runner.run(settings, name=study, storage=url, hook=hook, corpus=texts)

    _finish(go, url, json_output=json_output)


def _forecast(settings: SearchConfig, minutes: float | None, *, keep_trials: bool) -> SearchConfig:
    """Say on stderr what the search will take; with a time, the search that fits into it."""
    from reports.wording import scales_text
    from search.run.forecast import forecast, step_seconds, within

    if minutes is not None and not 0 < minutes <= 100_000:
        raise InvalidQuantity(f"minutes: must be more than 0 and at most 100000, got {minutes:g}")
    step_s = step_seconds(settings)
    if minutes is not None:
        settings = within(settings, 60 * minutes, step_s, keep_trials=keep_trials)
    expected = forecast(settings, step_s)
    if text := scales_text(settings.proxy_width_scale, settings.proxy_vocab_size):
        notice(f"proxies {text} are trained in the place of the models")
    notice(f"forecast: {expected.text()}")
    return settings


def _config(path: str | None, preset_name: str | None) -> SearchConfig:
    """The defaults, changed by a preset, changed by a file."""
    from search.space.config import config_from_dict, flat, read_toml

    values: dict[str, Any] = {}
    if preset_name is not None:
        from search.space.presets import preset

        values |= preset(preset_name).values
    if path is not None:
        values |= flat(read_toml(Path(path)), path)
    return config_from_dict(values, where=path or "config")


@app.command("presets")
def presets_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """List searches prepared for a device, or print one as TOML to start a file of your own from.

    \b
    Examples:
      sizer search presets
      sizer search presets raspberry-pi-5-tiny > mine.toml
    """
    from search.space.presets import preset, presets

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
    name: Annotated[str, NAME],
    trials: Annotated[int | None, typer.Option(help="Models to train in all. [as asked at first]")] = None,
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Go on with a study that was stopped or killed; finished trials are never repeated.

    \b
    Examples:
      sizer search resume search-1
      sizer search resume search-1 --trials 40
    """
    if trials is not None and trials < 1:
        raise InvalidQuantity(f"trials: must be 1 or more, got {trials}")
    url = default_storage(storage)

    from search.run import runner

    def go(hook: Any) -> tuple[SearchResult, Ending]:
        return runner.resume(name, storage=url, trials=trials, hook=hook)

    _finish(go, url, json_output=json_output, trials=trials)


def _finish(go: Any, storage: str, *, json_output: bool, trials: int | None = None) -> None:
    """Run a search under a progress bar, then write its report and print its frontier.

    `trials`: models asked for since the study began, which the study does not remember.
    """
    from commands.progress import search_progress
    from search.run.loop import Ending

    with search_progress(console(stderr=True)) as hook:
        result, ending = go(hook)
    if ending is Ending.STOPPED:
        more = "" if trials is None else f" --trials {trials}"
        notice(f"stopped; go on with: sizer search resume {result.study}{more}")
        raise typer.Exit(130)
    if ending is Ending.EXHAUSTED:
        notice("the space holds no more new models that fit the budget; ended early")
    if json_output:
        from reports.documents import frontier_document

        write_study_report(result, storage, None)
        out_json(frontier_document(result))
        return
    print_frontier(result)
    page = write_study_report(result, storage, None)
    print(f"report:   {page}")
    print("explorer: sizer app")
