"""LoRA and other adapters: what they change, how many weights they train, and of which base model.

Layouts: peft's adapter_config.json and adapter_model.safetensors, mlx-lm's adapters.safetensors, and GGUF
files of general.type "adapter" (convert_lora_to_gguf.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from sizer.architecture import Architecture
from sizer.errors import SizerError
from sizer.readers.config_json import read_object
from sizer.readers.file_tensor import FileTensor, tensor_bytes
from sizer.readers.gguf_header import GgufHeader
from sizer.readers.lora_targets import LoraShape, trained_weights
from sizer.readers.model_file import ADAPTER_CONFIG
from sizer.readers.regular_file import exists
from sizer.tensors import count_parameters, tensor_specs

WEIGHT_NAMES = ("adapter_model.safetensors", "adapters.safetensors")

_MAX_NAMES = 100
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter: `parameters` are the weights it trains; None if neither file nor base model show them."""

    method: str
    rank: int | None
    alpha: float | None
    targets: tuple[str, ...]
    trained_modules: tuple[str, ...]  # copied and trained whole (modules_to_save)
    parameters: int | None
    num_bytes: int | None
    base_model: str | None
    base_parameters: int | None
    note: str | None

    @property
    def share(self) -> float | None:
        """Weights of the adapter as a share of the base model's."""
        if self.parameters is None or not self.base_parameters:
            return None
        return self.parameters / self.base_parameters

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "method": self.method,
            "rank": self.rank,
            "alpha": self.alpha,
            "targets": list(self.targets),
            "trained_modules": list(self.trained_modules),
            "trainable_parameters": self.parameters,
            "num_bytes": self.num_bytes,
            "base_model": self.base_model,
            "base_parameters": self.base_parameters,
            "share_of_base": self.share,
            "note": self.note,
        }


class _Base(NamedTuple):
    """The base model of an adapter, as far as it is known."""

    name: str | None
    architecture: Architecture | None

    @property
    def parameters(self) -> int | None:
        """Weights of the base model."""
        return count_parameters(tensor_specs(self.architecture)).total if self.architecture else None


def is_adapter(tensors: Sequence[FileTensor]) -> bool:
    """Return whether a file's tensors are those of LoRA matrices."""
    return any(".lora_" in tensor.name for tensor in tensors)


def read_adapter(folder: Path, tensors: Sequence[FileTensor] | None) -> Adapter:
    """Read the adapter in a folder from its adapter_config.json, if there, and the tensors of its file."""
    file = folder / ADAPTER_CONFIG
    config = read_object(file) if tensors is None or exists(file) else {}
    base = _base(folder, _text(config.get("base_model_name_or_path")) or _text(config.get("model")))
    mlx = config.get("lora_parameters")
    shape = _mlx_shape(mlx, config) if isinstance(mlx, Mapping) else LoraShape.from_peft(config)
    held = sum(tensor.num_elements for tensor in tensors) if tensors is not None else None
    note = None
    if held is None:
        held, note = trained_weights(shape, base.architecture)
    modules, rank = _held_modules(tensors or ())
    return Adapter(
        method=shape.method,
        rank=rank if rank is not None else shape.rank,
        alpha=shape.alpha,
        targets=tuple(modules) or shape.targets[:_MAX_NAMES],
        trained_modules=shape.trained_modules[:_MAX_NAMES],
        parameters=held,
        num_bytes=sum(tensor.num_bytes or 0 for tensor in tensors) if tensors is not None else None,
        base_model=base.name,
        base_parameters=base.parameters,
        note=note,
    )


def gguf_adapter(header: GgufHeader) -> Adapter:
    """Read an adapter from the header of a GGUF file."""
    modules, rank = _held_modules(header.tensors)
    name = header.text("general.base_model.0.name") or header.text("general.base_model.0.repo_url")
    base = _base(None, _text(name))
    alpha = header.metadata.get("adapter.lora.alpha")
    return Adapter(
        method=header.text("adapter.type") or "adapter",
        rank=rank,
        alpha=_number(alpha),
        targets=tuple(modules),
        trained_modules=(),
        parameters=sum(tensor.num_elements for tensor in header.tensors),
        num_bytes=tensor_bytes(header.tensors),
        base_model=base.name,
        base_parameters=base.parameters,
        note=None,
    )


def _mlx_shape(mlx: Mapping[str, Any], config: Mapping[str, Any]) -> LoraShape:
    """mlx-lm: adapters on the last `num_layers` layers; keys are names of modules."""
    keys = mlx.get("keys")
    return LoraShape(
        method=_text(config.get("fine_tune_type")) or "lora",
        rank=mlx["rank"] if type(mlx.get("rank")) is int else None,
        alpha=None,
        targets=tuple(k[:_MAX_TEXT] for k in keys if isinstance(k, str)) if isinstance(keys, list) else (),
        trained_modules=(),
        unknown="mlx-lm's layers and modules are not counted from the config; accepted: its weights' file",
    )


def _base(folder: Path | None, name: str | None) -> _Base:
    """Return the base model: the config.json in the adapter's folder, or the catalogue's row of its name.

    The name may be a path on another machine: it is never opened.
    """
    from sizer.registry import model

    shown = name and "".join(c if c.isprintable() else "?" for c in name)
    try:
        if folder is not None and exists(folder / "config.json"):
            from sizer.readers.config_json import read_config_json

            return _Base(shown, read_config_json(folder / "config.json"))
        return _Base(shown, model(name).architecture if name else None)
    except SizerError:
        return _Base(shown, None)


def _held_modules(tensors: Sequence[FileTensor]) -> tuple[list[str], int | None]:
    """Return the names of adapted modules, and the rank that all share, None if there is none."""
    modules: dict[str, None] = {}
    ranks: set[int] = set()
    for tensor in tensors:
        name, _, rest = tensor.name.partition(".lora_")
        if not rest or len(tensor.shape) != 2:
            continue
        kind = rest.split(".")[0].removeprefix("embedding_")
        if len(modules) < _MAX_NAMES:
            modules.setdefault(name.removesuffix(".weight").rsplit(".", 1)[-1])
        if kind in ("A", "a", "B", "b"):
            ranks.add(min(tensor.shape))
    return list(modules), next(iter(ranks)) if len(ranks) == 1 else None


def _text(value: object) -> str | None:
    return value[:_MAX_TEXT] if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None
