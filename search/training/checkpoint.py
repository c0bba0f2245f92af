"""Checkpoints of training runs: weights, moments and progress as plain arrays, nothing that can execute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from sizer.atomic_write import atomic_write
from sizer.errors import InvalidFile

_META = "meta.json"


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write float32 tensors and plain values atomically. OSError if the disk is full."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    arrays[_META] = numpy.frombuffer(json.dumps(dict(meta)).encode(), dtype=numpy.uint8)
    with atomic_write(path, durable=True) as file:
        numpy.savez(file, allow_pickle=False, **arrays)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote; InvalidFile if the file is truncated or something else."""
    try:
        with path.open("rb") as file, numpy.load(file, allow_pickle=False) as stored:
            tensors = {name: torch.from_numpy(stored[name]) for name in stored.files if name != _META}
            meta = json.loads(stored[_META].tobytes())
    except Exception as error:  # whatever numpy and zipfile make of a damaged file
        reason = " ".join(str(error).split())[:200]
        raise InvalidFile(f"checkpoint: {str(path)!r} cannot be read: {reason}") from None
    if not isinstance(meta, dict):
        raise InvalidFile(f"checkpoint: {str(path)!r} says nothing of its run")
    return tensors, meta
