"""Export a finalist: a Hugging Face folder or a GGUF file, with its card, never over somebody else's file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.export.card import model_card
from search.export.finalist import TrainedFinalist
from search.export.gguf_file import (
    metadata,
    predicted_file_bytes,
    stored_tensors,
    write_gguf,
)
from search.export.huggingface import stored_bytes, write_huggingface
from search.export.layout import check_layout
from search.export.outcome import (
    Exported,
    Target,
    cannot_write,
    check_ours,
    checked_card,
    complete_or_absent,
    context_note,
    context_of,
    exported,
    identity_of,
    score_check,
)
from search.training.safetensors_file import WEIGHTS
from sizer.atomic_write import atomic_folder, write_text
from sizer.errors import InvalidFile, UnknownName
from sizer.formats.gguf_metadata import Entry
from sizer.readers.gguf_header import read_gguf

_OURS = "sizer.json"  # in a folder that an export made


def export_huggingface(
    finalist: TrainedFinalist, folder: Path, *, context_tokens: int | None = None
) -> Exported:
    """Write a folder with config, weights in float32, tokenizer and card; whole or not at all.

    A folder that an earlier export of the same model made is replaced; any other raises InvalidFile.
    """
    f, context = finalist, context_of(finalist, context_tokens)
    check_layout(f.architecture, experts=True)
    identity = identity_of(f)
    if folder.exists() and not _is_empty(folder):
        check_ours(_folder_identity(folder), identity, folder)
    try:
        with atomic_folder(folder) as made:
            write_huggingface(made, f, context_tokens=context)
            size = (made / WEIGHTS).stat().st_size
            card = model_card(f, context_tokens=context, files={WEIGHTS: size})
            write_text(made / "README.md", card)
            write_text(made / _OURS, json.dumps(identity, indent=2) + "\n")
    except OSError as error:
        raise cannot_write(folder, error) from None
    notes = [score_check(f)]
    if f.architecture.sharing.repeat > 1:
        notes.append(
            f"Hugging Face shares no blocks: {f.architecture.executed_layers} are stored for "
            f"{f.architecture.num_layers} trained ones"
        )
    return exported(
        f,
        folder,
        Target.HUGGING_FACE,
        file_bytes=size,
        predicted_bytes=stored_bytes(f.architecture),
        checks=(*notes, context_note(f, context)),
    )


def export_gguf(finalist: TrainedFinalist, path: Path, *, context_tokens: int | None = None) -> Exported:
    """Write a GGUF file in the finalist's format, and its card; whole or not at all.

    A file that an earlier export of the same model made is replaced; any other raises InvalidFile.
    """
    f, context = finalist, context_of(finalist, context_tokens)
    check_layout(f.architecture, ffn_by_layer=True, experts=True)
    if f.runtime != "llama.cpp":
        raise UnknownName(f"format: {f.format} is a format of {f.runtime}; accepted for GGUF: llama.cpp's")
    identity = identity_of(f)
    if path.exists():
        check_ours(_file_identity(path), identity, path)
    stored = stored_tensors(f.architecture, f.format)

    def entries(file_bytes: int) -> tuple[Entry, ...]:
        more = _provenance(f, identity, file_bytes)
        return metadata(f.architecture, f.format, f.vocabulary, context_tokens=context, more=more)

    predicted = predicted_file_bytes(entries(0), stored)  # a size is stored in as many bytes as any other
    card, text = checked_card(f, path, context_tokens=context, file_bytes=predicted)
    with complete_or_absent(path):
        write_gguf(path, f, f.format, entries(predicted))
        write_text(card, text)
    return exported(
        f,
        path,
        Target.GGUF,
        file_bytes=path.stat().st_size,
        predicted_bytes=predicted,
        checks=(score_check(f), *_size_notes(f, predicted), context_note(f, context)),
    )


def _provenance(f: TrainedFinalist, identity: dict[str, str | int], file_bytes: int) -> Sequence[Entry]:
    """Return the `sizer.*` metadata by which `sizer verify` compares a file with what was promised."""
    config = f.result.config
    assert config is not None
    return (
        *(
            Entry(key, "STRING" if isinstance(value, str) else "UINT32", value)
            for key, value in identity.items()
        ),
        Entry("sizer.format", "STRING", f.format),
        Entry("sizer.corpus", "STRING", config.training.corpus),
        Entry("sizer.tokenizer", "STRING", config.tokenizer_of(f.architecture.vocab_size).value),
        Entry("sizer.vocab_size", "UINT32", f.architecture.vocab_size),
        Entry("sizer.seq_len", "UINT32", config.training.seq_len),
        Entry("sizer.val_chunks", "UINT32", config.training.val_chunks),
        Entry("sizer.val_bits_per_byte", "FLOAT64", f.deployed_bits_per_byte),
        Entry("sizer.trained_tokens", "UINT64", f.run.trained_tokens),
        Entry("sizer.file_bytes", "UINT64", file_bytes),
    )


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False


def _folder_identity(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / _OURS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _file_identity(path: Path) -> dict[str, Any] | None:
    try:
        return dict(read_gguf(path).metadata)
    except InvalidFile:
        return None


def _size_notes(f: TrainedFinalist, predicted: int) -> tuple[str, ...]:
    difference = f.record.file_bytes - predicted
    if f.is_proxy or f.format != f.searched_format or not difference:
        return ()
    return (
        f"the study counted {f.record.file_bytes:,} bytes ({difference:+,}): it takes the tokenizer's size "
        "from those of known models",
    )
