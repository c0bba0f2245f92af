"""`sizer solve`: rank the architectures that fill a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.console import CONTEXT, JSON, OUTPUT, Form, chosen_form, out, out_rows
from sizer.budget import Limits
from sizer.devices.catalogue import device
from sizer.devices.catalogue import device_name as name_with
from sizer.errors import InvalidQuantity, UnknownName
from sizer.request import EstimateRequest
from sizer.runtimes import runtime
from sizer.units import parse_bytes, parse_count
from sizer.workload import Workload

if TYPE_CHECKING:
    from sizer.quality.prediction import Quality

_RANKS = ("parameters", "law", "quality")


def solve_command(
    device_name: Annotated[
        str | None, typer.Option("--device", help="Device to fit and to predict speed for.")
    ] = None,
    ram: Annotated[str | None, typer.Option(help="Variant of the device by its RAM, such as 4GB.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="What the engine runs on: cpu, gpu or npu. [the engine's choice]")
    ] = None,
    max_size: Annotated[str | None, typer.Option(help="Max file size, such as 60MB.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Memory limit, such as 300MB.")] = None,
    min_decode: Annotated[float | None, typer.Option(help="Min decode speed (tok/s).")] = None,
    bits: Annotated[float | None, typer.Option(help="Bits of the runtime's customary format. [4]")] = None,
    format: Annotated[str | None, typer.Option(help="Weight format by name, such as Q4_K_M.")] = None,
    runtime_name: Annotated[
        str, typer.Option("--runtime", help="Runtime that runs the model.")
    ] = "llama.cpp",
    context: Annotated[int, CONTEXT] = 2048,
    vocab_size: Annotated[int, typer.Option(help="Vocabulary size.")] = 32000,
    tie_embeddings: Annotated[
        bool, typer.Option("--tie-embeddings/--no-tie-embeddings", help="Tie the head to the embedding.")
    ] = True,
    rank: Annotated[
        str, typer.Option(help="parameters, law (loss for equal training) or quality (after --tokens).")
    ] = "parameters",
    tokens: Annotated[
        str | None, typer.Option(help="Training tokens for --rank quality. [1T and 20 a weight]")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="What it is trained on, such as fineweb-edu.")] = None,
    anchor: Annotated[
        str | None, typer.Option(metavar="MODEL=ACCURACY", help="A model of the same recipe, in percent.")
    ] = None,
    top: Annotated[int, typer.Option(help="Number of shapes to show.", min=1)] = 10,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Find the architectures that fill a budget, most parameters first.

    One shape per hidden size, as deep as file, memory and speed allow. More parameters are not always better:
    --rank law sizes tens of thousands of shapes and ranks them by the loss expected from published models
    for equal training, --rank quality by their loss after a training of --tokens, with accuracies.
    To find out which of them trains best, use `sizer search`.

    \b
    Examples:
      sizer solve --device raspberry-pi-5 --max-size 60MB --max-memory 300MB --min-decode 30
      sizer solve --device raspberry-pi-5 --max-size 60MB --rank law
      sizer solve --device raspberry-pi-5 --max-size 200MB --rank quality --corpus fineweb-edu
      sizer solve --device pixel-8a --backend gpu --runtime litert-lm --max-size 400MB
      sizer solve --device iphone-15-pro --max-size 200MB --bits 8 --context 4096 --json
    """
    form = chosen_form(json_output, output)
    if rank not in _RANKS:
        raise UnknownName.of("rank", rank, _RANKS)
    device_name = name_with(device_name, ram, backend)
    request = EstimateRequest(runtime=runtime_name, bits=bits, format=format)
    format_name, _ = request.chosen_format()
    budget = Limits(
        max_size_bytes=parse_bytes(max_size, "max-size") if max_size is not None else None,
        max_memory_bytes=parse_bytes(max_memory, "max-memory") if max_memory is not None else None,
        min_decode_tokens_per_s=min_decode,
    )
    training = {"tokens": tokens, "corpus": corpus, "anchor": anchor}
    if rank != "quality" and any(value is not None for value in training.values()):
        name = next(name for name, value in training.items() if value is not None)
        raise InvalidQuantity(f"{name}: is about training; accepted with --rank quality")
    if rank != "parameters":
        asked = {
            "budget": budget,
            "formats": (format_name,),
            "runtime": runtime(runtime_name).name,
            "device": device_name,
            "context_tokens": context,
            "vocab_size": vocab_size,
            "tie_embeddings": tie_embeddings,
        }
        recipe = {"corpus": corpus, "anchor": anchor}
        _by_law(asked, rank, tokens, top, recipe, form)
        return
    from sizer.shapes.within_budget import fill

    found = fill(
        budget,
        format=format_name,
        runtime=runtime_name,
        device=device(device_name) if device_name is not None else None,
        workload=Workload.within(context, runtime(runtime_name).cache_types[0]),
        vocab_size=vocab_size,
        tie_embeddings=tie_embeddings,
    )[:top]
    if form is not Form.TABLE:
        estimates = [sized.to_dict() for sized in found]
        out_rows({"schema": "sizer.solve/1", "estimates": estimates}, "estimates", form)
        return
    from reports.text.solve import solve_table

    out(solve_table(found))


def _by_law(
    asked: dict[str, Any],
    rank: str,
    tokens: str | None,
    top: int,
    recipe: dict[str, str | None],
    form: Form,
) -> None:
    """Print the best shapes of a query by loss, for equal training or after `tokens`."""
    from search.space.design import design
    from search.space.sized_shapes import DesignQuery, Rank
    from sizer.quality.lengths import DEPLOYED_TOKENS, qualities

    length = DEPLOYED_TOKENS if tokens is None else float(parse_count(tokens, "tokens"))
    found = design(DesignQuery(rank=Rank(rank), training_tokens=length, **asked))
    rows = found.best(top)
    reached: list[tuple[Quality, ...]] = []
    if rank == "quality":
        reached = [qualities(found.estimate(row), tokens, **recipe) for row in rows]
    if form is not Form.TABLE:
        more = {"quality": [[q.to_dict() for q in row] for row in reached]} if reached else {}
        out_rows(found.to_dict(rows) | more, "estimates", form, more=("law", "quality"))
        return
    from reports.text.solve import LAW, law_note, quality_columns, solve_table
    from reports.text.wording import above_text

    ranked = found.feasible
    sized = [found.estimate(row) for row in rows]
    if reached:
        out(solve_table(sized, more=quality_columns(reached)))
    else:
        law = [above_text(ranked.above[row], ranked.low[row], ranked.high[row]) for row in rows]
        out(solve_table(sized, more={LAW: law}))
    out(law_note(found, rows, reached))
