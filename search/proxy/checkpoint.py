"""A run in training on disk: weights, moments and where it stands. Plain arrays, nothing that can execute."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from sizer.errors import InvalidFile

_META = "meta.json"


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write float32 tensors and plain values; the file is there whole or not at all. OSError: no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    arrays[_META] = numpy.frombuffer(json.dumps(dict(meta)).encode(), dtype=numpy.uint8)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            numpy.savez(file, allow_pickle=False, **arrays)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_checkpoint` wrote; InvalidFile where the file is cut short or something else."""
    try:
        with path.open("rb") as file, numpy.load(file, allow_pickle=False) as stored:
            tensors = {name: torch.from_numpy(stored[name]) for name in stored.files if name != _META}
            meta = json.loads(stored[_META].tobytes())
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidFile(f"checkpoint: {str(path)!r} cannot be read: {error}") from None
    if not isinstance(meta, dict):
        raise InvalidFile(f"checkpoint: {str(path)!r} says nothing of its run")
    return tensors, meta
