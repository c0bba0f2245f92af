"""`sizer search reproduce`: repeat published comparisons with small models and check the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.console import JSON, notice, out, out_json
from commands.search_studies import app
from sizer.errors import InvalidQuantity, StudyError

if TYPE_CHECKING:
    from search.reproductions.agreement import Findings
    from search.reproductions.effort import Effort
    from search.reproductions.reproduce import ReproductionProgress
    from search.reproductions.reproductions import Reproduction


@app.command("reproduce")
def reproduce_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Repeat all comparisons, one after the other.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Time limit of each: chooses seeds and steps.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each arm. [as listed]")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps of each run. [as listed]")] = None,
    workers: Annotated[int, typer.Option(help="Runs in parallel, each on separate cores.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate the time and train nothing.")] = False,
    stored: Annotated[bool, typer.Option("--stored", help="Report stored runs and train nothing.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Markdown file to write the report to.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder of finished runs. [runs/reproductions]", show_default=False),
    ] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Repeat a published comparison with small models; report agreement and cost.

    Without NAME, lists the comparisons. Every finished run is stored: after Ctrl-C or a kill only the
    current run is lost, and the same command continues. More seeds or other steps add to the stored runs.

    \b
    Examples:
      sizer search reproduce
      sizer search reproduce swiglu
      sizer search reproduce depth-vs-width --minutes 30 --workers 2
      sizer search reproduce bits --seeds 5
      sizer search reproduce --all --stored --markdown reproductions.md
    """
    from search.reproductions.reproductions import reproduction, reproductions

    if name is not None and everything:
        raise InvalidQuantity(f"--all: repeats all comparisons, got NAME {name!r} too; accepted: one of them")
    if name is None and not everything:
        _list(json_output=json_output)
        return
    if minutes is not None and not 0 < minutes <= 100_000:
        raise InvalidQuantity(f"minutes: must be more than 0 and at most 100000, got {minutes:g}")
    if minutes is not None and (seeds is not None or steps is not None):
        raise InvalidQuantity("minutes: chooses seeds and steps; accepted: without --seeds and --steps")
    if not 1 <= workers <= 512:
        raise InvalidQuantity(f"workers: must be from 1 to 512, got {workers}")
    chosen = list(reproductions().values()) if name is None else [reproduction(name)]

    from search.reproductions.agreement import findings
    from search.reproductions.effort import Effort
    from search.reproductions.reproduce import DEFAULT_FOLDER
    from search.reproductions.reproduction_runs import stored_runs

    where = folder if folder is not None else DEFAULT_FOLDER
    found = []
    for r in chosen:
        effort = Effort(steps=r.steps if steps is None else steps, seeds=r.seeds if seeds is None else seeds)
        if not stored:
            effort = _train(r, effort, minutes, where, workers, dry_run=dry_run)
        if not dry_run:
            runs = stored_runs(r, where, steps if stored else effort.steps)
            found.append(findings(r, runs))
    if dry_run:
        return
    if not any(f.runs for f in found):
        notice("nothing is trained yet: run without --stored")
        raise typer.Exit(1)
    _report(found, "--all" if everything else chosen[0].name, markdown, json_output=json_output)


def _list(*, json_output: bool) -> None:
    from search.reproductions.reproductions import reproductions

    known = list(reproductions().values())
    if json_output:
        fields = ("name", "title", "source", "published", "steps", "seeds", "core_minutes")
        out_json({"reproductions": [{f: getattr(r, f) for f in fields} for r in known]})
        return
    from reports.text.reproduction import catalogue_table

    out(catalogue_table(known))


def _report(found: list[Findings], what: str, markdown: Path | None, *, json_output: bool) -> None:
    from reports.text.reproduction import reproduction_table, reproductions_page

    if markdown is not None:
        shown = markdown.name if markdown.is_absolute() else markdown.as_posix()
        command = f"sizer search reproduce {what} --stored --markdown {shown}"
        try:
            markdown.write_text(reproductions_page(found, command), encoding="utf-8", newline="\n")
        except OSError as error:
            raise StudyError(
                f"markdown: {str(markdown)!r} cannot be written: {error.strerror or error}"
            ) from None
    if json_output:
        documents = [f.to_dict() for f in found]
        out_json(documents[0] if what != "--all" else {"reproductions": documents})
        return
    for f in found:
        out(reproduction_table(f))


def _train(
    r: Reproduction, effort: Effort, minutes: float | None, folder: Path, workers: int, *, dry_run: bool
) -> Effort:
    """Train missing runs and return the effort that was trained; exit with 130 if stopped."""
    from commands.progress import progress
    from search.reproductions.effort import TRUSTED_STEPS, effort_within, expected_seconds, step_seconds
    from search.reproductions.reproduce import reproduce
    from search.reproductions.reproduction_runs import stored_runs
    from sizer.units import format_count, format_seconds

    step_s = step_seconds(r, workers)
    if minutes is not None:
        effort = effort_within(r, step_s, minutes, effort, folder, workers)
    there = {(run.label, run.seed) for run in stored_runs(r, folder, effort.steps) if run.seed < effort.seeds}
    runs = len(r.arms) * effort.seeds
    share = 1 - len(there) / runs
    tokens = (runs - len(there)) * effort.steps * r.batch_size * r.seq_len
    notice(
        f"forecast: {r.name}, {runs} runs of {effort.steps:,} steps, {len(there)} of them stored, "
        f"{format_count(tokens)} tokens to go, about "
        f"{format_seconds(share * expected_seconds(step_s, effort, workers))}"
    )
    if effort.steps < TRUSTED_STEPS:
        notice(f"below {TRUSTED_STEPS:,} steps rankings often have the wrong sign: do not trust this result")
    if dry_run:
        return effort
    with progress() as report:
        whole = reproduce(
            r,
            effort,
            folder=folder,
            step_s=step_s,
            hook=lambda p: report(
                f"{p.name} {p.finished_runs}/{p.total_runs}", p.done_s, p.total_s, _note(p)
            ),
            workers=workers,
        )
    if not whole:
        notice("stopped; finished runs are stored, the same command continues")
        raise typer.Exit(130)
    return effort


def _note(p: ReproductionProgress) -> str:
    speed = f"  {p.tokens_per_s / 1000:.1f}k tokens/s" if p.tokens_per_s else ""
    return f"{p.label}, seed {p.seed}, step {p.step:,} of {p.steps:,}{speed}"
