"""`sizer formats`: weight formats by runtime, ggml block types, and the types inside a format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from commands.console import JSON, OUTPUT, Form, chosen_form, out, out_rows
from sizer.architecture import Architecture
from sizer.errors import UnknownName
from sizer.formats.ggml import TYPES
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.runtimes.base import Runtime
from sizer.tensors import Group


def formats_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    runtime_name: Annotated[
        str | None, typer.Option("--runtime", help="List only this runtime's formats.")
    ] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """List weight formats by runtime and ggml's block types; with NAME, the types a format uses.

    \b
    Examples:
      sizer formats
      sizer formats Q4_K_M
      sizer formats --runtime mlx --json
    """
    engines = [runtime(n) for n in (RUNTIME_NAMES if runtime_name is None else (runtime_name,))]
    if name is not None:
        rows = [row for engine in engines if (row := _format_document(engine, name)) is not None]
        if not rows:
            raise UnknownName.of("format", name, {f for engine in engines for f in engine.formats})
    else:
        rows = []
    document: dict[str, Any] = {"formats": rows} if rows else _formats_document(engines)
    form = chosen_form(json_output, output)
    if form is not Form.TABLE:
        out_rows(document, "formats" if rows else "block_types", form)
    elif rows:
        _print_format(rows)
    else:
        _print_formats(engines)


def _formats_document(engines: Sequence[Runtime]) -> dict[str, Any]:
    return {
        "runtimes": {engine.name: list(engine.formats) for engine in engines},
        "block_types": [
            {
                "name": t.name,
                "block_elements": t.block_elements,
                "block_bytes": t.block_bytes,
                "bits_per_weight": t.bits_per_weight,
            }
            for t in TYPES.values()
        ],
    }


# A shape whose rows divide into every block size, so that no tensor falls back to another type.
_ALIGNED = Architecture(
    name="aligned",
    vocab_size=32000,
    num_layers=16,
    hidden_size=1280,
    intermediate_size=3840,
    num_heads=20,
    num_kv_heads=5,
    head_dim=64,
    tie_embeddings=False,
)


def _format_document(engine: Runtime, name: str) -> dict[str, Any] | None:
    """Return types by tensor and bits per weight of a format; None if the runtime has no such format."""
    try:
        found = engine.format_name(name)
    except UnknownName:
        return None
    stored = engine.store(_ALIGNED, found)
    types: dict[str, list[str]] = {}
    weights = bits = 0
    for tensor in stored:
        known = types.setdefault(tensor.spec.role.value, [])
        if tensor.type.name not in known:
            known.append(tensor.type.name)
        if tensor.spec.role.group in (Group.ATTENTION, Group.MLP):
            weights += tensor.spec.num_elements
            bits += 8 * tensor.num_bytes
    return {
        "name": found,
        "runtime": engine.name,
        "bits_per_weight_of_blocks": bits / weights,
        "types_by_role": types,
    }


def _print_format(rows: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    for row in rows:
        out(
            f"{row['name']} under {row['runtime']}: {row['bits_per_weight_of_blocks']:.2f} bits per weight "
            "of the blocks, if all rows divide into block sizes"
        )
        table = Table("tensor", "stored as")
        for role, names in row["types_by_role"].items():
            table.add_row(role, ", ".join(names))
        out(table)


def _print_formats(engines: Sequence[Runtime]) -> None:
    from rich.table import Table

    for engine in engines:
        out(f"{engine.name}: {', '.join(engine.formats)}")
    columns = ("block type", "weights per block", "bytes per block", "bits per weight")
    table = Table(*columns, title="ggml block types")
    for t in TYPES.values():
        table.add_row(t.name, str(t.block_elements), str(t.block_bytes), f"{t.bits_per_weight:g}")
    out(table)
