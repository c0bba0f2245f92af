"""Weights of a finished run: a folder of model.safetensors and config.json, or an old search's checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from search.training.checkpoint import load_checkpoint
from search.training.safetensors_file import WEIGHTS, write_safetensors
from sizer.architecture import Architecture
from sizer.atomic_write import atomic_write
from sizer.errors import InvalidFile, SizerError
from sizer.families.hf_config import architecture_from_config
from sizer.readers.regular_file import open_regular
from sizer.readers.safetensors_header import read_safetensors

_CONFIG = "config.json"
_ROUNDED = "sizer_trained_rounded"
_MAX_CONFIG_BYTES = 2**20
_PREFIX = "weight."


class KeptWeights(NamedTuple):
    """A trained model: its shape, float32 weights by name, and whether it was trained rounded to few bits."""

    architecture: Architecture
    weights: Mapping[str, Tensor]
    rounded: bool


def keep_weights(checkpoint: Path, folder: Path) -> None:
    """Write the weights of a checkpoint into a folder, without the moments. OSError if the disk refuses."""
    tensors, meta = load_checkpoint(checkpoint)
    write_safetensors(folder / WEIGHTS, _weights(tensors))
    document = {**meta["config"], _ROUNDED: bool(meta.get("rounding"))}
    with atomic_write(folder / _CONFIG) as file:
        file.write(json.dumps(document, indent=2).encode())


def load_weights(path: Path) -> KeptWeights:
    """Read a folder that `keep_weights` wrote, or a checkpoint; InvalidFile if it holds no trained model."""
    try:
        if path.is_dir():
            config, weights = _read_config(path / _CONFIG), _read_weights(path / WEIGHTS)
            rounded = config.pop(_ROUNDED, False) is True
        else:
            tensors, meta = load_checkpoint(path)
            config, weights, rounded = meta["config"], _weights(tensors), bool(meta.get("rounding"))
        return KeptWeights(architecture_from_config(config, path.stem), weights, rounded)
    except InvalidFile:
        raise
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if isinstance(error, SizerError) else "something is missing in it"
        raise InvalidFile(f"weights: {str(path)!r} holds no trained model: {reason}") from None


def _weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(_PREFIX): t for n, t in tensors.items() if n.startswith(_PREFIX)}


def _read_config(path: Path) -> dict[str, Any]:
    with open_regular(path, "the config.json of a kept model", "weights") as (stream, size):
        if size > _MAX_CONFIG_BYTES:
            raise InvalidFile(f"weights: {str(path)!r} has {size:,} bytes; accepted: a config.json")
        document = json.loads(stream.read(size))
    if not isinstance(document, dict):
        raise InvalidFile(f"weights: {str(path)!r} is not an object; accepted: a config.json")
    return document


def _read_weights(path: Path) -> dict[str, Tensor]:
    header = read_safetensors(path)
    found = {}
    with open_regular(path, "the model.safetensors of a kept model", "weights") as (stream, _):
        for tensor in header.tensors:
            if tensor.type != "F32" or tensor.num_bytes is None:
                raise InvalidFile(f"weights: {tensor.name} in {str(path)!r} is {tensor.type}; accepted: F32")
            stream.seek(tensor.offset)
            values = numpy.frombuffer(bytearray(stream.read(tensor.num_bytes)), dtype="<f4")
            found[tensor.name] = torch.from_numpy(values.reshape(tensor.shape))
    return found
