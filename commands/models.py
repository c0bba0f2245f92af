"""`sizer models`: models known by name, with exact and published parameter counts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands.console import JSON, OUTPUT, Form, chosen_form, out, out_json, out_rows
from sizer.registry import CatalogueModel, model, models
from sizer.tensors import count_parameters, tensor_specs
from sizer.units import format_count


def models_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """List known models with exact parameter counts, or one with its sources.

    Names are found without regard to case, publisher and variant: llama3.2:1b, Qwen/Qwen3-0.6B-FP8.

    \b
    Examples:
      sizer models
      sizer models llama3.2:1b
      sizer models MobileLLM-125M --json
    """
    form = chosen_form(json_output, output)
    rows = list(models().values()) if name is None else [model(name)]
    if form is not Form.TABLE:
        documents = [_model_document(row) for row in rows]
        if name is not None and form is Form.JSON:
            out_json(documents[0])
        else:
            out_rows({"models": documents}, "models", form)
        return
    if name is not None:
        out(_facts(rows[0]))
        return
    out(_list(rows))


def _list(rows: list[CatalogueModel]) -> Any:
    """Return the table of all models; names are never cut, other columns are left out."""
    from reports.text.text_table import Column, TextTable

    cells = []
    for row in rows:
        a = row.architecture
        cells.append(
            (
                a.name,
                f"{_count(row):,}",
                str(a.num_layers)
                if a.sharing.repeat == 1
                else f"{a.num_layers}x{a.sharing.runs_per_block(a.num_layers):g}",
                str(a.hidden_size),
                f"{a.num_heads}/{a.num_kv_heads}" if _attends(row) else "-",
                f"{a.num_experts}x{a.expert_width}" if a.num_experts else str(a.intermediate_size or "-"),
                format_count(a.vocab_size) + ("*" if a.tie_embeddings else ""),
            )
        )
    dropped = {"layers": 4, "hidden\nsize": 5, "heads\n/KV": 3, "FFN\nsize": 2, "vocab": 1}
    return TextTable(
        columns=(
            Column(name="name", is_key=True),
            Column(name="parameters", right=True),
            *(Column(name=name, right=True, drop=place) for name, place in dropped.items()),
        ),
        rows=tuple(cells),
        caption="x2: each block run twice; *: one table for embedding and head",
    )


def _facts(row: CatalogueModel) -> Any:
    from rich.table import Table

    a = row.architecture
    table = Table(title=a.name, show_header=False)
    table.add_row("parameters", f"{_count(row):,}")
    if row.params_published is not None:
        table.add_row("published", f"{row.params_published:,} ({row.params_source})")
    for key, value in row.config.items():
        table.add_row(key, str(value))
    table.add_row("source", row.source)
    return table


def _attends(row: CatalogueModel) -> bool:
    return any(spec.role.value == "attn_output" for spec in tensor_specs(row.architecture))


def _count(row: CatalogueModel) -> int:
    return count_parameters(tensor_specs(row.architecture)).total


def _model_document(row: CatalogueModel) -> dict[str, Any]:
    return {
        "name": row.architecture.name,
        "parameters": _count(row),
        "params_published": row.params_published,
        "params_source": row.params_source,
        "config": dict(row.config),
        "source": row.source,
    }
