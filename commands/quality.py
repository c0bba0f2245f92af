"""`sizer quality`: what models would reach, from a user's own cheap runs or from published tables alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.console import JSON, OUTPUT, Form, chosen_form, out, out_rows
from sizer.errors import InvalidArchitecture, NoFit
from sizer.request import EstimateRequest

app = typer.Typer(help="Predict loss and accuracy of models nobody has trained yet.")


@app.callback()
def _group() -> None:
    """Predict loss and accuracy of models nobody has trained yet."""


@app.command("fit")
def fit_command(
    runs: Annotated[Path, typer.Argument(metavar="RUNS.csv", help="Runs you have trained.")],
    ask: Annotated[Path, typer.Option("--ask", metavar="ASKED.csv", help="Models to predict.")],
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Calibrate the law on your own runs and predict others, with ranges that hold 80 %.

    Columns (any may be missing or empty): model, num_layers, hidden_size, intermediate_size, num_heads,
    num_kv_heads, vocab_size, params_nonembedding, params_total, tokens, bits, loss_nats, accuracy; also
    head_dim and unique_tokens.

    \b
    Examples:
      sizer quality fit runs.csv --ask asked.csv
      sizer quality fit runs.csv --ask asked.csv --json
    """
    from sizer.quality.ladder import SCHEMA, climb

    found = climb(runs, ask)
    form = chosen_form(json_output, output)
    if form is not Form.TABLE:
        out_rows({"schema": SCHEMA, "predictions": [row.to_dict() for row in found]}, "predictions", form)
        return
    from reports.text.quality import ladder_table

    out(ladder_table(found))


@app.command("curve")
def curve_command(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", show_default=False)] = None,
    params: Annotated[str | None, typer.Option(help="Parameter count to come near to, such as 125M.")] = None,
    bits: Annotated[float | None, typer.Option(help="Bits of the runtime's customary format. [16]")] = None,
    format: Annotated[str | None, typer.Option(help="Weight format by name, such as Q4_K_M.")] = None,
    corpus: Annotated[str | None, typer.Option(help="What it is trained on, such as fineweb-edu.")] = None,
    anchor: Annotated[
        str | None, typer.Option(metavar="MODEL=ACCURACY", help="A model of the same recipe, in percent.")
    ] = None,
    target: Annotated[float | None, typer.Option(help="Accuracy to reach, in percent: how long?")] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Show loss and accuracy over training tokens, with GPU-hours and energy of the training.

    \b
    Examples:
      sizer quality curve --params 350M --corpus fineweb-edu --target 50
      sizer quality curve MobileLLM-600M --anchor MobileLLM-125M=46.3 --bits 4 --json
    """
    from sizer.quality.curve import SCHEMA, curve, length_for

    if (model is None) == (params is None):
        raise InvalidArchitecture("model: give one of MODEL and --params")
    bits = 16.0 if bits is None and format is None else bits
    sized = EstimateRequest(model=model, params=params, bits=bits, format=format).run().estimate
    points = curve(sized, corpus=corpus, anchor=anchor)
    found = None if target is None else length_for(sized, target, corpus=corpus, anchor=anchor)
    form = chosen_form(json_output, output)
    if form is not Form.TABLE:
        document = {"schema": SCHEMA, "points": [point.to_dict() for point in points]}
        out_rows(document | ({} if found is None else {"target": found.to_dict()}), "points", form)
        return
    from reports.text.quality import curve_table, target_text

    out(curve_table(points))
    if found is not None and target is not None:
        out(target_text(target, found))


@app.command("study")
def study_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a study of `sizer search`.")],
    tokens: Annotated[str, typer.Option(help="Training tokens of the models, not of their proxies.")] = "1T",
    corpus: Annotated[str | None, typer.Option(help="What they are trained on, such as fineweb-edu.")] = None,
    anchor: Annotated[
        str | None, typer.Option(metavar="MODEL=ACCURACY", help="A model of the same recipe, in percent.")
    ] = None,
    storage: Annotated[str | None, typer.Option(help="Optuna storage URL. [sqlite:///runs/sizer.db]")] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Show what the models on a study's frontier would reach after a full training.

    \b
    Examples:
      sizer quality study search-1
      sizer quality study search-1 --tokens 300B --corpus fineweb-edu --json
    """
    from search.analysis.frontier import frontier
    from search.store.storage import default_storage
    from search.store.study import load_result
    from sizer.quality.prediction import estimated_quality
    from sizer.units import parse_count

    length = parse_count(tokens, "tokens")
    result = load_result(name, storage or default_storage())
    found = []
    for record in frontier(result):
        sized = record.candidate.deployment(runtime=result.runtime, device=None, context_tokens=2048)
        found.append((record, estimated_quality(sized, length, corpus=corpus, anchor=anchor)))
    if not found:
        raise NoFit(f"study: no trial of {name} has been trained yet")
    form = chosen_form(json_output, output)
    if form is not Form.TABLE:
        points = [
            {
                "trial": record.number,
                "architecture": record.candidate.architecture.name,
                "format": record.candidate.format,
                "file_bytes": record.file_bytes,
                "quality": quality.to_dict(),
            }
            for record, quality in found
        ]
        out_rows({"schema": "sizer.quality.study/1", "points": points}, "points", form)
        return
    from reports.text.quality import study_table

    out(study_table([(r.number, r.candidate.describe(), r.file_bytes, q) for r, q in found]))
