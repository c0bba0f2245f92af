"""Write a .safetensors file of float32 tensors (https://huggingface.co/docs/safetensors)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from sizer.atomic_write import atomic_write
from sizer.formats.groups import StoredPart
from sizer.formats.safetensors import header

WEIGHTS = "model.safetensors"
MULTIPLE = 8  # the package safetensors pads its header with spaces


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors in float32, in the order of the mapping; whole or not at all. OSError if it cannot."""
    values = {name: t.detach().cpu().float().contiguous().numpy() for name, t in tensors.items()}
    parts = [StoredPart(name, "F32", array.shape) for name, array in values.items()]
    with atomic_write(path, durable=True) as file:
        file.write(header(parts, "pt", multiple=MULTIPLE))
        for array in values.values():
            file.write(array.astype("<f4", copy=False).tobytes())
