"""A model file compared with the calculator's answer for its architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sizer.architecture import Architecture
from sizer.formats.gguf import gguf_name
from sizer.formats.gguf_layout import unknown_layout
from sizer.readers.file_tensor import FileTensor, tensor_bytes, totals_by_type
from sizer.readers.gguf_header import GgufHeader
from sizer.readers.packed import Packing
from sizer.readers.safetensors_header import DTYPE_BITS, SafetensorsHeader
from sizer.runtimes import runtime
from sizer.tensors import tensor_specs


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A file compared with the calculator's answer for its architecture; unknown bytes are None."""

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
        """Return the comparison as plain JSON values."""
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


def gguf_agreement(header: GgufHeader, architecture: Architecture) -> Agreement:
    """Compare a GGUF file with the tensors and bytes that its file type gives this architecture."""
    engine = runtime("llama.cpp")
    specs = tensor_specs(engine.as_stored(architecture))
    format_name = header.file_type
    known = format_name in engine.formats and not unknown_layout(architecture)
    stored = engine.store(architecture, format_name) if known and format_name is not None else None
    return _agreement(
        header.tensors,
        {tensor.name: tensor.num_elements for tensor in header.tensors},
        {gguf_name(spec): spec.num_elements for spec in specs},
        format_name=format_name,
        calculated_bytes=None if stored is None else sum(tensor.num_bytes for tensor in stored),
    )


def safetensors_agreement(
    header: SafetensorsHeader, architecture: Architecture, packing: Packing | None
) -> Agreement:
    """Compare a safetensors model with this architecture; of packed weights only the number."""
    specs = tensor_specs(architecture)
    totals = totals_by_type(header.tensors)
    dtype = totals[0].type if totals else None
    elements = sum(spec.num_elements for spec in specs)
    if packing is None:
        held = {tensor.name: tensor.num_elements for tensor in header.tensors}
    else:
        held = packing.logical(header.tensors)
    plain = dtype is not None and packing is None
    return _agreement(
        header.tensors,
        held,
        {spec.name: spec.num_elements for spec in specs},
        format_name=dtype if packing is None else packing.methods[0],
        calculated_bytes=elements * DTYPE_BITS[dtype] // 8 if plain and dtype is not None else None,
    )


def _agreement(
    tensors: Sequence[FileTensor],
    held: Mapping[str, int],
    calculated: Mapping[str, int],
    *,
    format_name: str | None,
    calculated_bytes: int | None,
) -> Agreement:
    return Agreement(
        format=format_name,
        file_parameters=sum(held.values()),
        calculated_parameters=sum(calculated.values()),
        file_bytes=tensor_bytes(tensors),
        calculated_bytes=calculated_bytes,
        only_in_file=tuple(sorted(held.keys() - calculated.keys())),
        only_calculated=tuple(sorted(calculated.keys() - held.keys())),
    )
