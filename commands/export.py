"""`sizer export`: write a trial's trained model as a file that engines run, or a plan to train a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.console import JSON, notice, out_json, tokens_option
from sizer.errors import InvalidQuantity, UnknownName
from sizer.units import format_bytes

TARGETS = ("gguf", "hf", "executorch", "recipe")


def export_command(
    source: Annotated[
        str,
        typer.Argument(metavar="STUDY|MODEL", help="A study, or for a recipe a model.", show_default=False),
    ],
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", help="Number of a trial.", show_default=False)
    ] = None,
    to: Annotated[
        str, typer.Option("--to", help="gguf, hf, executorch, or recipe (a training plan).")
    ] = "gguf",
    out_path: Annotated[
        str | None, typer.Option("--out", help="File or folder to write. [runs/STUDY/export/...]")
    ] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="Another format of the engine. [the study's]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Which run of the trial. [the first kept]")] = None,
    context: Annotated[
        int | None, tokens_option("Context to write, such as 4096 or 8k. [as trained]")
    ] = None,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="Export the proxy that was trained in the model's place.")
    ] = False,
    tokens: Annotated[
        str | None, typer.Option(help="Tokens of a recipe, such as 300B. [20 a weight]")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL. [sqlite:///runs/sizer.db]", show_default=False)
    ] = None,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Write a trial's trained model as a file that engines run, or a plan to train a model.

    The score that the study stored is recomputed from the weights first. A study keeps the weights of its
    last rung. Nothing is written over a file that is not an export of the same model.

    \b
    Examples:
      sizer export search-1 7
      sizer export search-1 7 --to hf --out my-model
      sizer export search-1 7 --format Q8_0 --json
      sizer export search-1 7 --to executorch
      sizer export MobileLLM-125M --to recipe --tokens 300B
    """
    target = to.strip().lower()
    if target not in TARGETS:
        raise UnknownName.of("to", to, TARGETS)
    where = None if out_path is None else Path(out_path)
    if target == "recipe":
        _recipe(source, trial, where, tokens, context, storage, json_output=json_output)
        return
    if trial is None:
        raise InvalidQuantity(f"TRIAL: missing; accepted: sizer export {source} NUMBER --to {target}")
    if tokens is not None:
        raise InvalidQuantity(f"tokens: is of a recipe, got --to {target}; accepted: --to recipe")
    from commands.search_studies import default_storage
    from search.export.export import export_gguf, export_huggingface
    from search.export.exported import export_folder
    from search.export.finalist import load_finalist

    url = default_storage(storage)
    # any study's weights can become a file in a format of the engine that is asked for
    engine = None if format_name is None else "llama.cpp"
    if target == "executorch":
        from sizer.calibration.executorch_bench import require_executorch

        require_executorch("export")
        engine, format_name = "executorch", format_name or _executorch_format(source, trial, url)
    finalist = load_finalist(
        source, trial, url, seed=seed, format_name=format_name, runtime=engine, proxy=proxy
    )
    default = export_folder(source, url)
    if target == "hf":
        done = export_huggingface(finalist, where or default / f"{trial}-hf", context_tokens=context)
    elif target == "executorch":
        from search.export.executorch import export_executorch

        layers = finalist.architecture.executed_layers
        notice(f"ExecuTorch's export takes about {17 * layers + 20} s of a processor")
        path = where or default / f"{trial}-{finalist.format}.pte"
        done = export_executorch(finalist, path, context_tokens=context)
    else:
        path = where or default / f"{trial}-{finalist.format}.gguf"
        if path.is_dir():
            path = path / f"{source}-{trial}-{finalist.format}.gguf"
        done = export_gguf(finalist, path, context_tokens=context)
    if json_output:
        out_json(done.to_dict())
        return
    for check in done.checks:
        notice(check)
    print(done.path)
    print(f"{done.file_bytes:,} bytes ({format_bytes(done.file_bytes)}), predicted {done.predicted_bytes:,}")
    print(f"{done.bits_per_byte:.5f} bits per byte{'' if done.format is None else f' in {done.format}'}")
    if target != "hf":
        print(f"next: sizer verify {done.path}")


def _executorch_format(study: str, trial: int, url: str) -> str:
    """Return the format that a study for ExecuTorch scored a trial in; the customary one of other studies."""
    from search.store.study import load_result
    from sizer.runtimes import runtime

    result = load_result(study, url)
    formats = {r.number: r.candidate.format for r in result.records}
    if result.runtime == "executorch" and trial in formats:
        return formats[trial]
    return runtime("executorch").format_for_bits(4)


def _recipe(
    source: str,
    trial: int | None,
    where: Path | None,
    tokens: str | None,
    context: int | None,
    storage: str | None,
    *,
    json_output: bool,
) -> None:
    from search.export.recipe import write_recipe
    from sizer.readers import read_model
    from sizer.units import parse_count

    if trial is None:
        architecture = read_model(source)
    else:
        from commands.search_studies import default_storage
        from search.store.study import load_result

        records = {r.number: r for r in load_result(source, default_storage(storage)).records}
        if trial not in records:
            raise InvalidQuantity(
                f"TRIAL: {trial} is not in study {source!r}; accepted: {', '.join(map(str, records))}"
            )
        architecture = records[trial].candidate.architecture
    name = "".join(c if c.isalnum() or c in "-._" else "-" for c in architecture.name)
    done = write_recipe(
        architecture,
        where or Path(f"{name}-recipe"),
        tokens=None if tokens is None else parse_count(tokens, "tokens"),
        context_tokens=context,
    )
    if json_output:
        out_json(done.to_dict())
        return
    print(done.path)
    print(
        f"{done.parameters:,} weights, {done.tokens:,} tokens in {done.steps:,} steps, "
        f"expected {done.lengths[0].quality.accuracy:.1f} % of 8 tasks; plan.md has the hours"
    )
