"""`sizer devices`, `models`, `formats`: what is known, with its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from commands.console import out, out_json
from sizer.architecture import Architecture
from sizer.device import Device, Fact, device, load_devices
from sizer.errors import UnknownName
from sizer.formats.ggml import TYPES
from sizer.registry import CatalogueModel, model, models
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.runtimes.base import Runtime
from sizer.tensors import Group, count_parameters, tensor_specs
from sizer.units import format_bytes, format_bytes_binary, format_count

_JSON = typer.Option("--json", help="One JSON document on stdout.")


def devices_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """List devices, or one with the source of every number.

    \b
    Examples:
      sizer devices
      sizer devices raspberry-pi-5
      sizer devices host --json
    """
    if name is not None:
        found = device(name)
        if json_output:
            out_json(_device_document(found))
        else:
            out(_device_table(found))
        return
    known = load_devices()
    if json_output:
        out_json({"devices": [_device_document(d) for d in known.values()]})
        return
    from rich.table import Table

    table = Table("name", "device", "kind", "RAM", "one app may use", "bandwidth", title="Devices")
    for d in known.values():
        bandwidth = d.bandwidth_bytes_per_s
        table.add_row(
            d.name,
            d.title,
            d.kind.value,
            _bytes_of(d.ram_bytes),
            _bytes_of(d.app_memory_bytes),
            f"{bandwidth.value / 1e9:.3g} GB/s" if bandwidth else "unknown",
        )
    out(table)


def _bytes_of(fact: Fact | None) -> str:
    return format_bytes_binary(fact.value) if fact else "unknown"


def _device_document(found: Device) -> dict[str, Any]:
    return {
        "name": found.name,
        "title": found.title,
        "kind": found.kind.value,
        "soc": found.soc,
        **{
            key: {"value": fact.value, "source": fact.source, "date": fact.date}
            for key, fact in found.facts.items()
        },
    }


def _device_table(found: Device) -> Any:
    from rich.table import Table

    table = Table("fact", "value", "source", "date", title=f"{found.name}: {found.title}")
    for key, fact in found.facts.items():
        shown = format_bytes(fact.value) if key.endswith("_bytes") else f"{fact.value:,.6g}"
        table.add_row(key, shown, fact.source, fact.date)
    return table


def models_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """List models known by name, with exact parameter counts.

    \b
    Examples:
      sizer models
      sizer models MobileLLM-125M --json
    """
    chosen = [model(name)] if name is not None else list(models().values())
    if json_output:
        documents = [_model_document(row) for row in chosen]
        out_json(documents[0] if name is not None else {"models": documents})
        return
    from rich.table import Table

    columns = ("name", "parameters", "published", "layers", "width", "heads", "MLP", "vocabulary")
    table = Table(*columns, title="Models")
    for row in chosen:
        a = row.architecture
        layers = str(a.num_layers) if a.sharing.repeat == 1 else f"{a.num_layers} run {a.executed_layers}"
        table.add_row(
            a.name,
            f"{_count(row):,}",
            f"{row.params_published:,}" if row.params_published else "-",
            layers,
            str(a.hidden_size),
            f"{a.num_heads}/{a.num_kv_heads}",
            f"{a.num_experts} x {a.expert_width}" if a.num_experts else str(a.intermediate_size),
            format_count(a.vocab_size) + (" tied" if a.tie_embeddings else ""),
        )
    out(table)


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


def formats_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    runtime_name: Annotated[str | None, typer.Option("--runtime", help="Only this engine's formats.")] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """List weight formats by runtime, and ggml's block types; with NAME, what one format stores as what.

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
    if json_output:
        out_json(document)
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


# A shape whose rows divide into every block there is: what each format stores as what, without fallbacks.
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
    """Types by part and bits per weight of one format under one engine; None if it has no such format."""
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
            "of the blocks, where all rows divide"
        )
        table = Table("tensor", "stored as")
        for role, names in row["types_by_role"].items():
            table.add_row(role, ", ".join(names))
        out(table)


def _print_formats(engines: Sequence[Runtime]) -> None:
    from rich.table import Table

    for engine in engines:
        out(f"{engine.name}: {', '.join(engine.formats)}")
    columns = ("block type", "weights a block", "bytes a block", "bits per weight")
    table = Table(*columns, title="ggml block types")
    for t in TYPES.values():
        table.add_row(t.name, str(t.block_elements), str(t.block_bytes), f"{t.bits_per_weight:g}")
    out(table)
