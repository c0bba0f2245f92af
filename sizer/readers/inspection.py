"""What a model file holds, and whether the calculator says the same about its architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import SizerError
from sizer.formats.gguf import gguf_name
from sizer.formats.gguf_layout import unknown_layout
from sizer.readers.config_json import read_config_json
from sizer.readers.file_tensor import FileTensor, TypeTotal, totals_by_type
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_header import GgufHeader, read_gguf
from sizer.readers.gguf_values import LongArray, Value
from sizer.readers.model_file import FileKind, config_beside, kind_of
from sizer.readers.regular_file import exists, is_directory
from sizer.readers.safetensors_header import DTYPE_BITS, SafetensorsHeader, read_safetensors
from sizer.runtimes import runtime
from sizer.tensors import count_parameters, tensor_specs

SCHEMA = "sizer.inspect/1"

_WEIGHTS = ("model.safetensors.index.json", "model.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A file beside the calculator's answer for its architecture; bytes are None where they are not known."""

    format: str | None
    file_parameters: int
    calculated_parameters: int
    file_bytes: int | None
    calculated_bytes: int | None
    only_in_file: tuple[str, ...]
    only_calculated: tuple[str, ...]

    @property
    def parameters_difference(self) -> int:
        """Weights in the file more than calculated."""
        return self.file_parameters - self.calculated_parameters

    @property
    def bytes_difference(self) -> int | None:
        """Bytes of tensors in the file more than calculated."""
        if self.file_bytes is None or self.calculated_bytes is None:
            return None
        return self.file_bytes - self.calculated_bytes

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return {
            "format": self.format,
            "parameters": {
                "file": self.file_parameters,
                "calculated": self.calculated_parameters,
                "difference": self.parameters_difference,
            },
            "tensor_bytes": {
                "file": self.file_bytes,
                "calculated": self.calculated_bytes,
                "difference": self.bytes_difference,
            },
            "only_in_file": list(self.only_in_file),
            "only_calculated": list(self.only_calculated),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A model file's header, its architecture or why there is none, and the calculator's answer."""

    path: Path
    kind: FileKind
    header: GgufHeader | SafetensorsHeader | None
    architecture: Architecture | None
    no_architecture: str | None
    agreement: Agreement | None

    @property
    def tensors(self) -> tuple[FileTensor, ...]:
        """Tensors of the file; none for a config.json."""
        return self.header.tensors if self.header else ()

    @property
    def totals(self) -> tuple[TypeTotal, ...]:
        """Totals of each storage type, most parameters first."""
        return totals_by_type(self.tensors)

    @property
    def num_parameters(self) -> int | None:
        """Weights in the file; what a config.json describes where there is no file."""
        if self.header is not None:
            return sum(total.parameters for total in self.totals)
        return count_parameters(tensor_specs(self.architecture)).total if self.architecture else None

    def to_dict(self, *, list_tensors: bool = False) -> dict[str, Any]:
        """The inspection as plain JSON values, in the layout of schema sizer.inspect/1."""
        header = self.header
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "path": str(self.path),
            "kind": self.kind.value,
            "files": list(header.files) if isinstance(header, SafetensorsHeader) else [self.path.name],
            "file_bytes": header.file_bytes if header else None,
            "header_bytes": header.header_bytes if header else None,
            "gguf": _gguf_facts(header) if isinstance(header, GgufHeader) else None,
            "metadata": {key: _plain(value) for key, value in header.metadata.items()} if header else {},
            "tensors": {
                "count": len(self.tensors),
                "parameters": self.num_parameters,
                "num_bytes": tensor_bytes(self.tensors) if header else None,
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
            "architecture": self.architecture.to_dict() if self.architecture else None,
            "no_architecture": self.no_architecture,
            "calculator": self.agreement.to_dict() if self.agreement else None,
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
    """What a config.json, .safetensors or .gguf file (or a directory with them) really holds."""
    kind, path = _find(path)
    if kind is FileKind.CONFIG:
        return Inspection(
            path=path,
            kind=kind,
            header=None,
            architecture=read_config_json(path),
            no_architecture=None,
            agreement=None,
        )
    header = read_gguf(path) if kind is FileKind.GGUF else read_safetensors(path)
    architecture: Architecture | None = None
    agreement: Agreement | None = None
    reason = None
    try:
        if isinstance(header, GgufHeader):
            architecture = architecture_from_gguf(header)
            agreement = _gguf_agreement(header, architecture)
        else:
            architecture = config_beside(path)
            agreement = _safetensors_agreement(header, architecture)
    except SizerError as error:  # a file without an architecture of ours is still worth a look
        reason = str(error)
    return Inspection(
        path=path,
        kind=kind,
        header=header,
        architecture=architecture,
        no_architecture=reason,
        agreement=agreement,
    )


def tensor_bytes(tensors: Sequence[FileTensor]) -> int | None:
    """Bytes of all tensors without padding; None if one has a type that is not known."""
    sizes = [tensor.num_bytes for tensor in tensors]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _find(path: Path) -> tuple[FileKind, Path]:
    """Kind of a path; in a directory the weights where they lie under their usual names, else config.json."""
    kind = kind_of(path)
    if kind is FileKind.CONFIG and is_directory(path):
        for name in _WEIGHTS:
            if exists(path / name):
                return FileKind.SAFETENSORS, path / name
    return kind, path


def _gguf_agreement(header: GgufHeader, architecture: Architecture) -> Agreement:
    engine = runtime("llama.cpp")
    specs = tensor_specs(engine.as_stored(architecture))
    format_name = header.file_type
    known = format_name in engine.formats and not unknown_layout(architecture)
    stored = engine.store(architecture, format_name) if known and format_name is not None else None
    return _agreement(
        header.tensors,
        {gguf_name(spec): spec.num_elements for spec in specs},
        format_name=format_name,
        calculated_bytes=None if stored is None else sum(tensor.num_bytes for tensor in stored),
    )


def _safetensors_agreement(header: SafetensorsHeader, architecture: Architecture) -> Agreement:
    specs = tensor_specs(architecture)
    totals = totals_by_type(header.tensors)
    dtype = totals[0].type if totals else None
    elements = sum(spec.num_elements for spec in specs)
    return _agreement(
        header.tensors,
        {spec.name: spec.num_elements for spec in specs},
        format_name=dtype,
        calculated_bytes=None if dtype is None else elements * DTYPE_BITS[dtype] // 8,
    )


def _agreement(
    tensors: Sequence[FileTensor],
    calculated: dict[str, int],
    *,
    format_name: str | None,
    calculated_bytes: int | None,
) -> Agreement:
    held = {tensor.name for tensor in tensors}
    return Agreement(
        format=format_name,
        file_parameters=sum(tensor.num_elements for tensor in tensors),
        calculated_parameters=sum(calculated.values()),
        file_bytes=tensor_bytes(tensors),
        calculated_bytes=calculated_bytes,
        only_in_file=tuple(sorted(held - calculated.keys())),
        only_calculated=tuple(sorted(calculated.keys() - held)),
    )


def _gguf_facts(header: GgufHeader) -> dict[str, Any]:
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
    }


def _plain(value: Value) -> Any:
    """A metadata value as JSON has it: a long array as its length, infinities and NaN as text."""
    if isinstance(value, LongArray):
        return {"type": value.type, "count": value.count}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value
