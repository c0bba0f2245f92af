"""Contents of a model file: what it is, what it holds, and the calculator's answer for its architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import InvalidFile, SizerError
from sizer.families.hf_config import architecture_from_config
from sizer.readers.adapter import WEIGHT_NAMES, Adapter, gguf_adapter, is_adapter, read_adapter
from sizer.readers.agreement import Agreement, gguf_agreement, safetensors_agreement
from sizer.readers.config_json import read_described_config
from sizer.readers.file_tensor import FileTensor, TypeTotal, tensor_bytes, totals_by_type
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_facts import GgufFacts, gguf_facts
from sizer.readers.gguf_header import GgufHeader
from sizer.readers.gguf_split import gguf_in_folder, missing_parts, read_gguf_set
from sizer.readers.gguf_values import LongArray, Value
from sizer.readers.model_file import ADAPTER_CONFIG, FileKind, kind_of, object_beside
from sizer.readers.packed import Packing, packing
from sizer.readers.projector import Projector, read_projector
from sizer.readers.quantization_keys import KEYS as QUANTIZATION_KEYS
from sizer.readers.regular_file import exists, is_directory
from sizer.readers.safetensors_header import SafetensorsHeader, read_safetensors
from sizer.tensors import parameters_of

SCHEMA = "sizer.inspect/1"

# The number of a part in a set of files (-00001-of-00003), and how many files of a folder are looked at.
_SET = re.compile(r"-\d{5}-of-\d{5}", re.ASCII)
_MAX_FILES = 2000
_WEIGHTS = ("model.safetensors.index.json", "model.safetensors")


@unique
class FileRole(StrEnum):
    """What a file is for."""

    MODEL = "model"
    ADAPTER = "adapter"
    PROJECTOR = "projector"
    SPLIT_PART = "split part"
    INDEX = "index"  # of shards that are not here
    IMPORTANCE_MATRIX = "importance matrix"
    CONTROL_VECTOR = "control vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A model file's header, what it is, its architecture or why there is none, and how both agree."""

    path: Path
    kind: FileKind
    role: FileRole = FileRole.MODEL
    header: GgufHeader | SafetensorsHeader | None = None
    architecture: Architecture | None = None
    no_architecture: str | None = None
    agreement: Agreement | None = None
    packing: Packing | None = None
    adapter: Adapter | None = None
    projector: Projector | None = None
    facts: GgufFacts | None = None
    missing_files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def tensors(self) -> tuple[FileTensor, ...]:
        """Tensors of the file; none for a config.json."""
        return self.header.tensors if self.header else ()

    @property
    def num_tensors(self) -> int:
        """Number of tensors; of an index without its shards, those it names."""
        if isinstance(self.header, SafetensorsHeader) and self.role is FileRole.INDEX:
            return self.header.indexed_tensors or 0
        return len(self.tensors)

    @property
    def totals(self) -> tuple[TypeTotal, ...]:
        """Totals of each storage type, most parameters first; packed words as the weights behind them."""
        return totals_by_type(self.tensors, self.packing.weights if self.packing else {})

    @property
    def num_parameters(self) -> int | None:
        """Weights in the file; what a config.json describes where there is no file, or not all of it."""
        if self.adapter is not None:
            return self.adapter.parameters
        if self.header is not None and self.role is not FileRole.INDEX:
            return sum(total.parameters for total in self.totals)
        if self.architecture is not None:
            return parameters_of(self.architecture).total
        return self.header.stated_parameters if isinstance(self.header, SafetensorsHeader) else None

    @property
    def num_bytes(self) -> int | None:
        """Bytes of all tensors; what the index states where the shards are not here; None if not known."""
        if isinstance(self.header, SafetensorsHeader) and self.role is FileRole.INDEX:
            return self.header.stated_bytes
        return tensor_bytes(self.tensors) if self.header else None

    def to_dict(self, *, list_tensors: bool = False) -> dict[str, Any]:
        """Return the inspection as plain JSON values, in the layout of schema sizer.inspect/1."""
        header = self.header
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "path": str(self.path),
            "kind": self.kind.value,
            "role": self.role.value,
            "files": list(header.files) if header else [self.path.name],
            "missing_files": list(self.missing_files),
            "file_bytes": header.file_bytes if header else None,
            "header_bytes": header.header_bytes if header else None,
            "gguf": _gguf_facts(header, self.facts) if isinstance(header, GgufHeader) else None,
            "metadata": {key: _plain(value) for key, value in header.metadata.items()} if header else {},
            "tensors": {
                "count": self.num_tensors,
                "parameters": self.num_parameters,
                "num_bytes": self.num_bytes,
                "by_type": [
                    {
                        "type": t.type,
                        "tensors": t.tensors,
                        "parameters": t.parameters,
                        "num_bytes": t.num_bytes,
                    }
                    for t in self.totals
                ],
            },
            "quantization": self.packing.to_dict() if self.packing else None,
            "adapter": self.adapter.to_dict() if self.adapter else None,
            "projector": self.projector.to_dict() if self.projector else None,
            "architecture": self.architecture.to_dict() if self.architecture else None,
            "no_architecture": self.no_architecture,
            "calculator": self.agreement.to_dict() if self.agreement else None,
            "notes": list(self.notes),
        }
        if list_tensors:
            document["tensors"]["list"] = [
                {
                    "name": t.name,
                    "type": t.type,
                    "shape": list(t.shape),
                    "file": t.file,
                    "offset": t.offset,
                    "num_bytes": t.num_bytes,
                }
                for t in self.tensors
            ]
        return document


def inspect_file(path: Path) -> Inspection:
    """Inspect a config.json, an adapter, .safetensors or .gguf file, or a directory with them."""
    kind, path = _find(path)
    if kind is FileKind.GGUF:
        return _inspect_gguf(path)
    if kind is FileKind.SAFETENSORS:
        return _inspect_safetensors(path)
    if path.name == ADAPTER_CONFIG:
        adapter = read_adapter(path.parent, None)
        return Inspection(path=path, kind=kind, role=FileRole.ADAPTER, adapter=adapter)
    reading = read_described_config(path)
    stored = (reading.stored.note,) if reading.stored else ()
    return Inspection(
        path=path, kind=kind, architecture=reading.architecture, notes=(*stored, *reading.notes)
    )


def _find(path: Path) -> tuple[FileKind, Path]:
    """Return the kind of a path; in a directory, weights with their usual names come before config.json."""
    kind = kind_of(path)
    if kind is FileKind.CONFIG and is_directory(path):
        adapter = () if exists(path / "config.json") and not exists(path / ADAPTER_CONFIG) else WEIGHT_NAMES
        for name in (*_WEIGHTS, *adapter):
            if exists(path / name):
                return FileKind.SAFETENSORS, path / name
        if exists(path / ADAPTER_CONFIG) and not exists(path / "config.json"):
            return kind, path / ADAPTER_CONFIG
        return _first_weights(path)
    return kind, path


def _first_weights(folder: Path) -> tuple[FileKind, Path]:
    """Return the one model file of a folder, or the first part of its one set; else its config.json."""
    files = sorted(file for file in islice(folder.glob("*.safetensors"), _MAX_FILES))
    if len({_SET.sub("", file.name) for file in files}) == 1:
        return FileKind.SAFETENSORS, files[0]
    try:
        model = gguf_in_folder(folder)
    except InvalidFile:
        if not exists(folder / "config.json"):
            raise
        model = None
    if model is not None:
        return FileKind.GGUF, model
    return FileKind.CONFIG, folder


def _inspect_gguf(path: Path) -> Inspection:
    header = read_gguf_set(path)
    role = _gguf_role(header)
    found = Inspection(path=path, kind=FileKind.GGUF, role=role, header=header)
    if role is FileRole.ADAPTER:
        return replace(found, adapter=gguf_adapter(header), no_architecture="the file is an adapter")
    if role is FileRole.PROJECTOR:
        return replace(found, projector=read_projector(header), no_architecture="the file is a projector")
    if role is not FileRole.SPLIT_PART and role is not FileRole.MODEL:
        return replace(found, no_architecture=f"the file is of another kind: {role}")
    missing = missing_parts(header)
    found = replace(found, facts=gguf_facts(header), missing_files=missing, notes=_split_notes(header))
    try:
        architecture = architecture_from_gguf(header)
        return replace(found, architecture=architecture, agreement=gguf_agreement(header, architecture))
    except SizerError as error:  # a file without an architecture of ours is still worth a look
        return replace(found, no_architecture=str(error))


def _gguf_role(header: GgufHeader) -> FileRole:
    kind, name = header.text("general.type"), header.architecture_name
    if kind == "adapter" or header.text("adapter.type"):
        return FileRole.ADAPTER
    if kind in ("mmproj", "projector") or name == "clip":
        return FileRole.PROJECTOR
    if kind == "imatrix":
        return FileRole.IMPORTANCE_MATRIX
    if name == "controlvector":
        return FileRole.CONTROL_VECTOR
    return FileRole.MODEL if header.is_whole else FileRole.SPLIT_PART


def _split_notes(header: GgufHeader) -> tuple[str, ...]:
    """Return how much of a split model is here, where parts are missing."""
    if header.is_whole:
        return ()
    total = header.metadata.get("split.tensors.count")
    of_all = f" of {total:,}" if type(total) is int and 0 < total < 2**31 else ""
    found = f"{len(header.files)} of {header.split_count} parts found"
    return (f"{found}: {len(header.tensors):,}{of_all} tensors; figures are for these",)


def _inspect_safetensors(path: Path) -> Inspection:
    header = read_safetensors(path)
    if is_adapter(header.tensors):
        adapter = read_adapter(path.parent, header.tensors)
        return Inspection(
            path=path,
            kind=FileKind.SAFETENSORS,
            role=FileRole.ADAPTER,
            header=header,
            adapter=adapter,
            no_architecture="the file is an adapter",
        )
    missing = header.missing_files
    incomplete = FileRole.SPLIT_PART if header.indexed_tensors is None else FileRole.INDEX
    found = Inspection(
        path=path,
        kind=FileKind.SAFETENSORS,
        role=incomplete if missing else FileRole.MODEL,
        header=header,
        missing_files=missing,
    )
    config: Mapping[str, Any] = {}
    reason = None
    try:
        config = object_beside(path)
        shape = {key: value for key, value in config.items() if key not in QUANTIZATION_KEYS}
        found = replace(found, architecture=architecture_from_config(shape, path.resolve().parent.name))
    except SizerError as error:
        reason = str(error)
    packed = packing(header.tensors, config)
    found = replace(found, packing=packed, no_architecture=reason)
    found = replace(found, notes=_safetensors_notes(found, header))
    if found.architecture is None or missing:
        return found
    return replace(found, agreement=safetensors_agreement(header, found.architecture, packed))


def _safetensors_notes(found: Inspection, header: SafetensorsHeader) -> tuple[str, ...]:
    notes = []
    here = len(header.files)
    if found.role is FileRole.SPLIT_PART:
        notes.append(f"{here} of {here + len(header.missing_files)} files found: figures are for these")
    elif header.missing_files:
        source = "config.json" if found.architecture else "the index" if header.stated_parameters else None
        counted = f"parameters are those of {source}" if source else "parameters are not known"
        stated = "bytes are the index's total_size" if header.stated_bytes else "the index says no total_size"
        notes.append(f"{here} of {here + len(header.missing_files)} files found: {counted}, {stated}")
        if header.stated_bytes and found.num_parameters and 8 * header.stated_bytes < found.num_parameters:
            notes.append(f"total_size: {header.stated_bytes:,} bytes is less than a bit for each parameter")
    if found.packing and found.packing.unread:
        count = len(found.packing.unread)
        notes.append(
            f"{count:,} packed tensors count as stored: neither shapes nor config.json say how many bits a "
            "weight has"
        )
    return tuple(notes)


def _gguf_facts(header: GgufHeader, facts: GgufFacts | None) -> dict[str, Any]:
    tokenizer = header.tokenizer
    return {
        "version": header.version,
        "alignment": header.alignment,
        "file_type": header.file_type,
        "split_count": header.split_count,
        "tokenizer": {
            "model": tokenizer.model,
            "pre": tokenizer.pre,
            "num_tokens": tokenizer.num_tokens,
            "num_merges": tokenizer.num_merges,
        },
        "model": facts.to_dict() if facts else None,
    }


def _plain(value: Value) -> Any:
    """Return a metadata value for JSON: a long array as its length, infinities and NaN as text."""
    if isinstance(value, LongArray):
        return {"type": value.type, "count": value.count}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value
