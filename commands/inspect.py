"""`sizer inspect`: what a model file really holds, read from its header."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from commands.console import out, out_json
from sizer.readers.file_tensor import FileTensor
from sizer.readers.gguf_header import GgufHeader
from sizer.readers.gguf_values import LongArray, Value
from sizer.readers.inspection import Agreement, Inspection, inspect_file, tensor_bytes
from sizer.units import format_bytes

# Long texts (chat templates) and lists are cut; --json has all of them.
_SHOWN = 60
_SHOWN_NAMES = 3
# Metadata keys that begin so are summed up in one row.
_TOKENIZER = "tokenizer.ggml."


def inspect_command(
    path: Annotated[str, typer.Argument(metavar="PATH", show_default=False)],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show what a config.json, .safetensors or .gguf file really holds.

    Reads headers only, of files of any size: tensors, exact bytes by type, metadata, tokenizer. Where the
    architecture is known, says whether the calculator agrees with the file.

    \b
    Examples:
      sizer inspect model.gguf
      sizer inspect model.safetensors --tensors
      sizer inspect model.safetensors.index.json --json
      sizer inspect config.json
    """
    found = inspect_file(Path(path))
    if json_output:
        out_json(found.to_dict(list_tensors=tensors))
        return
    for table in _tables(found, list_tensors=tensors):
        out(table)


def _tables(found: Inspection, *, list_tensors: bool) -> list[Any]:
    tables = [_table(("fact", "value"), _facts(found), title=_clean(str(found.path)))]
    if found.totals:
        rows = [
            (t.type, f"{t.tensors:,}", f"{t.parameters:,}", _exact_bytes(t.num_bytes)) for t in found.totals
        ]
        tables.append(_table(("type", "tensors", "parameters", "bytes"), rows, title="Stored types"))
    if list_tensors and found.tensors:
        tables.append(_table(("tensor", "type", "shape", "bytes"), map(_tensor_row, found.tensors)))
    return tables


def _facts(found: Inspection) -> list[tuple[str, str]]:
    header = found.header
    rows = [("format", _format(found))]
    if header is not None:
        sizes = f"{_exact_bytes(header.file_bytes)}, of them {_exact_bytes(header.header_bytes)} of headers"
        rows += [("file", sizes), ("tensors", f"{len(found.tensors):,}")]
    if found.num_parameters is not None:
        rows.append(("parameters", f"{found.num_parameters:,}"))
    if header is not None:
        rows.append(("tensor bytes", _exact_bytes(tensor_bytes(found.tensors))))
    if isinstance(header, GgufHeader):
        rows += _gguf_rows(header)
    rows.append(("architecture", _architecture(found)))
    if found.agreement is not None:
        rows += _agreement_rows(found.agreement)
    if header is not None:
        shown = (
            (key, _value(value)) for key, value in header.metadata.items() if not key.startswith(_TOKENIZER)
        )
        rows += [(key, text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") for key, text in shown]
    return rows


def _format(found: Inspection) -> str:
    header = found.header
    if isinstance(header, GgufHeader):
        return f"GGUF version {header.version}, alignment {header.alignment}"
    if header is None:
        return "config.json"
    return "safetensors" if len(header.files) == 1 else f"safetensors in {len(header.files)} files"


def _gguf_rows(header: GgufHeader) -> list[tuple[str, str]]:
    rows = [("file type", header.file_type or "not named")]
    if header.split_count > 1:
        rows.append(("split", f"one of {header.split_count} files: the figures are this file's"))
    t = header.tokenizer
    if t.model is not None or t.num_tokens:
        kind = " ".join(text for text in (t.model, t.pre and f"({t.pre})") if text)
        rows.append(("tokenizer", f"{kind}: {t.num_tokens:,} tokens, {t.num_merges:,} merges"))
    return rows


def _architecture(found: Inspection) -> str:
    a = found.architecture
    if a is None:
        return f"not known: {found.no_architecture}"
    experts = f"{a.num_experts} experts ({a.num_experts_per_tok} used) of " if a.num_experts else ""
    return (
        f"{a.num_layers} layers x {a.hidden_size}, {a.num_heads} heads of {a.head_dim} over "
        f"{a.num_kv_heads} KV heads, {experts}MLP {a.expert_width}, vocabulary {a.vocab_size}, "
        f"{'tied' if a.tie_embeddings else 'untied'} embeddings"
    )


def _agreement_rows(agreement: Agreement) -> list[tuple[str, str]]:
    rows = [
        (
            "calculated parameters",
            f"{agreement.calculated_parameters:,} ({_difference(agreement.parameters_difference)})",
        )
    ]
    if agreement.bytes_difference is not None:
        told = f"{agreement.calculated_bytes:,} as {agreement.format}"
        rows.append(("calculated tensor bytes", f"{told} ({_difference(agreement.bytes_difference)})"))
    for label, names in (
        ("only in the file", agreement.only_in_file),
        ("only calculated", agreement.only_calculated),
    ):
        if names:
            more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
            rows.append((label, ", ".join(names[:_SHOWN_NAMES]) + more))
    return rows


def _difference(value: int) -> str:
    return (
        "the file agrees" if value == 0 else f"the file has {abs(value):,} {'more' if value > 0 else 'fewer'}"
    )


def _tensor_row(tensor: FileTensor) -> tuple[str, str, str, str]:
    return (tensor.name, tensor.type, " x ".join(map(str, tensor.shape)), _exact_bytes(tensor.num_bytes))


def _exact_bytes(count: int | None) -> str:
    if count is None:
        return "unknown"
    return f"{count:,}" if count < 1000 else f"{count:,} ({format_bytes(count)})"


def _value(value: Value) -> str:
    if isinstance(value, LongArray):
        return f"{value.count:,} x {value.type}"
    if isinstance(value, tuple):
        if len(set(value)) == 1 and len(value) > 1:
            return f"{len(value)} x {value[0]}"
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _clean(text: str) -> str:
    """Text of a file, safe for a terminal: unprintable characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _table(columns: tuple[str, ...], rows: Any, title: str | None = None) -> Any:
    from rich.table import Table
    from rich.text import Text

    # Text: names of a file are shown as they are, not read as rich's markup
    table = Table(*columns, title=None if title is None else Text(title))
    for row in rows:
        table.add_row(*(Text(_clean(cell)) for cell in row))
    return table
