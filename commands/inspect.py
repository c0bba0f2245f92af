"""`sizer inspect`: the content of a model file, read from its header."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.console import JSON, OUTPUT, Form, chosen_form, out, out_rows
from sizer.readers.adapter import Adapter
from sizer.readers.agreement import Agreement
from sizer.readers.file_tensor import FileTensor
from sizer.readers.gguf_facts import GgufFacts
from sizer.readers.gguf_header import GgufHeader
from sizer.readers.gguf_values import LongArray, Value
from sizer.readers.inspection import FileRole, Inspection, inspect_file
from sizer.readers.packed import Packing
from sizer.readers.projector import Projector
from sizer.units import format_bytes

# Long texts (chat templates) and lists are cut here; --json is complete.
_SHOWN = 60
_SHOWN_NAMES = 3
_SHOWN_TARGETS = 12
# Metadata keys with this prefix are summarized in one row.
_TOKENIZER = "tokenizer.ggml."


def inspect_command(
    path: Annotated[str, typer.Argument(metavar="PATH", show_default=False)],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Show the content of a config.json, .safetensors or .gguf file, an adapter or a projector.

    Reads only headers: tensors, exact bytes by type, metadata, tokenizer. Packed words count as the weights
    behind them. If the architecture is known, also compares the file with the calculator.

    \b
    Examples:
      sizer inspect model.gguf
      sizer inspect model.safetensors --tensors
      sizer inspect model.gguf --tensors -o csv > tensors.csv
      sizer inspect model.safetensors.index.json --json
      sizer inspect config.json
    """
    found = inspect_file(Path(path))
    form = chosen_form(json_output, output)
    if form is not Form.TABLE:
        rows = "tensors.list" if tensors else "tensors.by_type"
        out_rows(found.to_dict(list_tensors=tensors), rows, form)
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
    rows = [("format", _format(found)), ("role", found.role.value)]
    if header is not None:
        sizes = f"{_exact_bytes(header.file_bytes)}, headers {_exact_bytes(header.header_bytes)}"
        rows += [("file", sizes), ("tensors", f"{found.num_tensors:,}")]
    if found.num_parameters is not None:
        rows.append(("parameters", f"{found.num_parameters:,}"))
    if header is not None:
        rows.append(("tensor bytes", _exact_bytes(found.num_bytes)))
    rows += _role_rows(found)
    if found.missing_files:
        rows.append(("missing files", _names(found.missing_files)))
    rows += [("note", note) for note in found.notes]
    if found.agreement is not None:
        rows += _agreement_rows(found.agreement)
    if header is not None:
        shown = (
            (key, _value(value)) for key, value in header.metadata.items() if not key.startswith(_TOKENIZER)
        )
        rows += [(key, text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") for key, text in shown]
    return rows


def _role_rows(found: Inspection) -> list[tuple[str, str]]:
    """Show what only files of one role or kind have."""
    rows = []
    if found.packing is not None:
        rows.append(("quantization", _quantization(found.packing)))
    if found.adapter is not None:
        rows += _adapter_rows(found.adapter)
    if found.projector is not None:
        rows += _projector_rows(found.projector)
    if isinstance(found.header, GgufHeader):
        rows += _gguf_rows(found.header)
    if found.role in (FileRole.MODEL, FileRole.SPLIT_PART, FileRole.INDEX):
        rows.append(("architecture", _architecture(found)))
    if found.architecture is None and found.facts is not None:
        rows += _fact_rows(found.facts)
    return rows


def _format(found: Inspection) -> str:
    header = found.header
    if isinstance(header, GgufHeader):
        return f"GGUF version {header.version}, alignment {header.alignment}"
    if header is None:
        return found.path.name if found.role is FileRole.ADAPTER else "config.json"
    count = len(header.files) + len(header.missing_files)
    return "safetensors" if count == 1 and header.files else f"safetensors in {count} files"


def _gguf_rows(header: GgufHeader) -> list[tuple[str, str]]:
    rows = [("file type", header.file_type or "not named")]
    if header.split_count > 1:
        found = f"{len(header.files)} of {header.split_count} files"
        rows.append(("split", f"{found}: {_names(header.files)}"))
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
    heads = f"{a.num_heads} query / {a.num_kv_heads} KV heads of {a.head_dim}, " if a.num_heads else ""
    return (
        f"{a.num_layers} layers x {a.hidden_size}, {heads}{experts}FFN size {a.expert_width}, "
        f"vocabulary {a.vocab_size}, {'tied' if a.tie_embeddings else 'untied'} embeddings"
    )


def _agreement_rows(agreement: Agreement) -> list[tuple[str, str]]:
    rows = [
        (
            "calculated parameters",
            f"{agreement.calculated_parameters:,} ({_difference(agreement.parameters_difference)})",
        )
    ]
    if agreement.bytes_difference is not None:
        calculated = f"{agreement.calculated_bytes:,} as {agreement.format}"
        rows.append(("calculated tensor bytes", f"{calculated} ({_difference(agreement.bytes_difference)})"))
    for label, names in (
        ("only in the file", agreement.only_in_file),
        ("only calculated", agreement.only_calculated),
    ):
        if names:
            rows.append((label, _names(names)))
    return rows


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more


def _quantization(packing: Packing) -> str:
    facts = packing.to_dict()
    bits = f", {facts['bits']} bits (from {facts['bits_from']})" if facts["bits"] else ""
    group = f", groups of {facts['group_size']}" if facts["group_size"] else ""
    stored = packing.bits_per_weight
    held = f", {stored:.3g} bits a weight with scales" if stored is not None else ""
    weights = f"{packing.num_weights:,} weights in {len(packing.tensors):,} packed tensors"
    return f"{' + '.join(packing.methods)}{bits}{group}: {weights}{held}"


def _adapter_rows(adapter: Adapter) -> list[tuple[str, str]]:
    alpha = "-" if adapter.alpha is None else f"{adapter.alpha:g}"
    rows = [("adapter", f"{adapter.method}, rank {adapter.rank or 'not known'}, alpha {alpha}")]
    if adapter.targets:
        rows.append(("targets", ", ".join(adapter.targets[:_SHOWN_TARGETS])))
    if adapter.trained_modules:
        rows.append(("trained whole", ", ".join(adapter.trained_modules[:_SHOWN_TARGETS])))
    if adapter.share is not None:
        base = f"{adapter.base_model or 'its base model'} ({adapter.base_parameters:,} parameters)"
        rows.append(("adds to", f"{base}: {100 * adapter.share:.3g} %"))
    elif adapter.base_model is not None:
        rows.append(("adds to", f"{adapter.base_model}, whose shape is not known here"))
    if adapter.note is not None:
        rows.append(("note", adapter.note))
    return rows


def _projector_rows(projector: Projector) -> list[tuple[str, str]]:
    rows = [("projector", f"{projector.type or 'unnamed'} for {' and '.join(projector.modalities) or '?'}")]
    for modality, sizes in projector.sizes.items():
        shown = ", ".join(f"{name.replace('_', ' ')} {size}" for name, size in sizes.items())
        rows.append((f"{modality} encoder", shown or "no sizes in the header"))
    return rows


def _fact_rows(facts: GgufFacts) -> list[tuple[str, str]]:
    """Show what the keys of an architecture that is not read state."""
    known = {name: value for name, value in facts.shape.items() if value is not None}
    rows = [("keys", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known.items()))]
    cached = facts.cached_values_per_token
    if cached is not None:
        windows = "".join(f"; {n} layers keep {size:,} positions" for size, n in facts.windows.items())
        rows.append(("cache", f"{_exact_bytes(2 * cached)} for a token in F16{windows}"))
    if facts.state_bytes:
        rows.append(("state", f"{_exact_bytes(facts.state_bytes)} for a sequence"))
    if facts.window_note:
        rows.append(("note", facts.window_note))
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
    """Escape unprintable characters of a file's text for a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _table(columns: tuple[str, ...], rows: Any, title: str | None = None) -> Any:
    from rich.table import Table
    from rich.text import Text

    # Text: names from a file are shown as they are, not parsed as rich markup
    table = Table(*columns, title=None if title is None else Text(title))
    for row in rows:
        table.add_row(*(Text(_clean(cell)) for cell in row))
    return table
