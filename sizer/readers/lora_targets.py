"""Weights that an adapter would train, from its config and its base model's shape: peft's rules for LoRA.

Rules: peft's LoraConfig (r, rank_pattern, target_modules, layers_to_transform, bias, modules_to_save,
use_dora).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from sizer.architecture import Architecture
from sizer.names import LORA_ALIASES
from sizer.tensors import Access, Role, TensorSpec, tensor_specs

_MAX_RANK = 65_536
_MAX_NAMES = 1000
_MAX_TEXT = 200
_PLAIN_NAME = re.compile(r"[\w.]+", re.ASCII)
_ALL_LINEAR = "all-linear"


class LoraShape(NamedTuple):
    """What an adapter's config states; `unknown` is the reason why its weights cannot be counted from it."""

    method: str
    rank: int | None
    alpha: float | None
    targets: tuple[str, ...]
    trained_modules: tuple[str, ...]
    ranks: Mapping[str, int] = {}
    layers: frozenset[int] | None = None
    bias: str = "none"
    dora: bool = False
    unknown: str | None = None

    @classmethod
    def from_peft(cls, config: Mapping[str, Any]) -> LoraShape:
        """Read the keys of an adapter_config.json; those of another kind of value are left out."""
        method = config.get("peft_type")
        rank, alpha = config.get("r"), config.get("lora_alpha")
        targets, unknown = _targets(config.get("target_modules"))
        pattern = config.get("rank_pattern")
        ranks = dict(list(pattern.items())[:_MAX_NAMES]) if isinstance(pattern, Mapping) else {}
        if not all(_PLAIN_NAME.fullmatch(name) and _is_rank(r) for name, r in ranks.items()):
            ranks, unknown = {}, unknown or "rank_pattern: a pattern; accepted: names of modules"
        layers = config.get("layers_to_transform")
        for key in ("target_parameters", "trainable_token_indices", "layer_replication", "exclude_modules"):
            if config.get(key):
                unknown = unknown or f"{key}: not counted from the config"
        if isinstance(method, str) and method != "LORA":
            unknown = unknown or f"peft_type: {method[:40]!r}; accepted: LORA"
        if not _is_rank(rank):
            unknown = unknown or "r: missing or not a rank"
        return cls(
            method=method[:40].lower() if isinstance(method, str) else "lora",
            rank=rank if _is_rank(rank) else None,
            alpha=float(alpha) if isinstance(alpha, int | float) and _finite(alpha) else None,
            targets=targets,
            trained_modules=_names(config.get("modules_to_save")),
            ranks=ranks,
            layers=_layers(layers),
            bias=str(config.get("bias") or "none")[:20],
            dora=config.get("use_dora") is True,
            unknown=unknown,
        )


def trained_weights(shape: LoraShape, base: Architecture | None) -> tuple[int | None, str | None]:
    """Return how many weights the adapter trains on a base model, or None and the reason."""
    if shape.unknown is not None:
        return None, shape.unknown
    if base is None:
        return None, "the base model's shape is not known; accepted: its config.json in the same folder"
    specs = tensor_specs(base)
    total = 0
    adapted: set[str] = set()
    for spec in _adapted(shape, specs):
        if len(spec.shape) != 2:
            return None, f"{spec.name}: adapters on experts are not counted from the config"
        adapted.add(spec.name.removesuffix(".weight"))
        rows, columns = spec.shape
        total += _rank(shape, spec) * (rows + columns) + (rows if shape.dora else 0)
    saved = [spec for spec in specs if _module(spec) in shape.trained_modules]
    total += sum(spec.num_elements for spec in saved)
    if base.tie_embeddings:  # the tensor list has no head, yet peft adapts or copies one
        if "lm_head" in shape.trained_modules:
            total += base.vocab_size * base.hidden_size
        if "lm_head" in shape.targets:
            total += (shape.rank or 0) * (base.vocab_size + base.hidden_size)
    if shape.bias in ("all", "lora_only"):
        total += sum(
            spec.num_elements
            for spec in specs
            if spec.is_bias and (shape.bias == "all" or spec.name.removesuffix(".bias") in adapted)
        )
    if not adapted and not saved:
        return None, f"target_modules: none of {', '.join(shape.targets[:8])} is a matrix of the base model"
    return total, None


def _adapted(shape: LoraShape, specs: Sequence[TensorSpec]) -> Iterator[TensorSpec]:
    roles = {role for target in shape.targets for role in LORA_ALIASES.get(target, ())}
    if "c_proj" in shape.targets and not any(spec.role is Role.QKV for spec in specs):
        roles.discard(
            Role.ATTENTION_OUTPUT
        )  # GPT-2 calls both output matrices of a block so, GPT-Neo the last
    ends = tuple(f".{target}" for target in shape.targets if "." in target)
    for spec in specs:
        if not spec.name.endswith(".weight") or spec.access is Access.VECTOR:
            continue
        if spec.layer is not None and shape.layers is not None and spec.layer not in shape.layers:
            continue
        name = spec.name.removesuffix(".weight")
        in_all = _ALL_LINEAR in shape.targets and spec.layer is not None
        if (
            in_all
            or spec.role in roles
            or _module(spec) in shape.targets
            or f".{name}".endswith(ends or ("\0",))
        ):
            yield spec


def _rank(shape: LoraShape, spec: TensorSpec) -> int:
    name = f".{spec.name.removesuffix('.weight')}"
    own = (rank for module, rank in shape.ranks.items() if name.endswith(f".{module}"))
    return next(own, shape.rank or 0)


def _module(spec: TensorSpec) -> str:
    return spec.name.rsplit(".", 2)[-2]


def _targets(value: object) -> tuple[tuple[str, ...], str | None]:
    if value == _ALL_LINEAR:
        return (_ALL_LINEAR,), None
    if isinstance(value, str):
        # never run: a pattern from a file may take for ever
        return (value[:_MAX_TEXT],), "target_modules: a pattern; accepted: names of modules"
    names = _names(value)
    return names, None if names else "target_modules: missing"


def _names(value: object) -> tuple[str, ...]:
    items = value[:_MAX_NAMES] if isinstance(value, list) else []
    return tuple("".join(c if c.isprintable() else "?" for c in n[:_MAX_TEXT]) for n in items if _is_text(n))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _layers(value: object) -> frozenset[int] | None:
    if type(value) is int:
        return frozenset((value,))
    if isinstance(value, list):
        return frozenset(n for n in value[:_MAX_NAMES] if type(n) is int)
    return None


def _is_rank(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MAX_RANK


def _finite(value: int | float) -> bool:
    return isfinite(value) if isinstance(value, float) else abs(value) < 10**9
