"""`sizer search decisions|settle`: which choices a study settles, and training what settles more."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.console import JSON, OUTPUT, Form, chosen_form, notice, out, out_json, out_rows
from commands.search_studies import NAME, STORAGE, app, default_storage
from sizer.errors import InvalidQuantity


@app.command("decisions")
def decisions_command(
    name: Annotated[str, NAME],
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """List which choices the study settles, at what probability, and the time that would settle the others.

    A decision is between two options of an axis, for models whose files have one size. Its probability comes
    from the published law and the study's runs together; both are given apart as well. Decisions are about
    models trained for 20 tokens a weight, not about the short runs themselves.

    \b
    Examples:
      sizer search decisions search-1
      sizer search decisions search-1 --json
    """
    from reports.text.decisions import decisions_document, decisions_table
    from search.analysis.decisions.decisions import decide
    from search.store.study import load_result

    result = load_result(name, default_storage(storage))
    found = decide(result)
    form = chosen_form(json_output, output)
    if form is not Form.TABLE:
        out_rows(decisions_document(found), "decisions", form)
        return
    out(decisions_table(found, name))
    if not found.runs:
        notice("no model has been trained yet: these are the published law's alone")


@app.command("settle")
def settle_command(
    name: Annotated[str, NAME],
    minutes: Annotated[float, typer.Option(help="Minutes to train for.")] = 30.0,
    storage: Annotated[str | None, STORAGE] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Train what is expected to change decisions most, not what is expected to be best.

    Trains more seeds of the study's models to its final rung, and pairs of new models that differ in one
    axis. Ctrl-C stops after the current step; the same command continues, after a kill as well.

    \b
    Examples:
      sizer search settle search-1 --minutes 30
    """
    if not 0 < minutes <= 100_000:
        raise InvalidQuantity(f"minutes: must be more than 0 and at most 100000, got {minutes:g}")
    from commands.progress import progress
    from reports.text.decisions import change_lines, decisions_document, decisions_table
    from search.analysis.decisions.decisions import decide
    from search.run.settle import settle
    from search.store.study import load_result
    from sizer.units import format_seconds

    url = default_storage(storage)
    before = decide(load_result(name, url))
    notice(
        f"{len(before.settled)} of {len(before.decisions)} decisions settled by {before.runs} runs; "
        f"training for up to {format_seconds(60 * minutes)}: more seeds of trained models and pairs of new "
        "ones, each chosen when the one before it has ended"
    )
    with progress("weighing decisions") as report:
        result, stopped = settle(
            name, storage=url, seconds=60 * minutes, report=lambda p: report(p.text, p.done_s, p.total_s)
        )
    if stopped:
        notice(f"stopped; continue with: sizer search settle {name} --minutes {minutes:g}")
        raise typer.Exit(130)
    found = decide(result)
    for line in change_lines(before, found):
        notice(line)
    if json_output:
        out_json(decisions_document(found))
        return
    out(decisions_table(found, name))
