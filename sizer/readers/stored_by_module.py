"""Weights of a quantized checkpoint whose config keeps some modules out, or stores them in other bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sizer.architecture import Architecture
from sizer.formats.by_module import ByModule, ModuleRule
from sizer.formats.gptq import PackedInt
from sizer.formats.hqq import HqqGroups
from sizer.formats.mlx import RECIPES, MlxGroups
from sizer.formats.recipe import Recipe
from sizer.formats.stored import StorageType, Weights
from sizer.readers import module_names
from sizer.readers.module_names import ModuleNames, texts
from sizer.readers.quantization_keys import QuantizationKeys
from sizer.runtimes import runtime

# Lists of modules that a tool does not pack.
KEPT_MODULES = (
    *("modules_to_not_convert", "llm_int8_skip_modules", "ignore", "ignored_layers", "exclude_modules"),
    *("skip_modules", "linear_weights_not_to_quantize"),
)
_MOST_RULES = 64  # kinds of storage in one file
_Types = Callable[[Mapping[str, Any]], StorageType | None]


class OwnWeights(NamedTuple):
    """Weights as a checkpoint stores them: `format` is a label."""

    format: str
    weights: Weights
    notes: tuple[str, ...]


def own_weights(by_module: ByModule, engine_name: str, architecture: Architecture) -> OwnWeights | None:
    """Return the weights by module; None if no rule changes anything in a format that the runtime has."""
    stored, unused = by_module.store(architecture)
    engine, base = runtime(engine_name), by_module.recipe
    others: dict[str, int] = {}
    for tensor in stored:
        if tensor.type != base.type_of(tensor.spec):
            others[tensor.type.name] = others.get(tensor.type.name, 0) + 1
    if not others and base.name in engine.formats:
        return None
    listed = ", ".join(f"{count} {name}" for name, count in others.items())
    notes = [f"modules that its config names are counted as it stores them: {listed}"] if others else []
    if unused:
        are = "name in its config means" if unused == 1 else "names in its config mean"
        notes.append(f"{unused} {are} no matrix of this model, or in a way that is not read")
    weights = Weights.of(engine.file_bytes(architecture, stored), stored)
    return OwnWeights(
        f"{base.name} by module" if others else base.name, weights._replace(own=stored), tuple(notes)
    )


def rules(method: str, block: Mapping[str, Any], base: Recipe) -> tuple[ModuleRule, ...]:
    """Return what a tool's block states about single modules, where the others are stored as `base`."""
    kept = [name for key in KEPT_MODULES for name in texts(block.get(key))]
    found = [_rule(_KEPT.get(method, module_names.starts_and_ends)(kept), None)] if kept else []
    return tuple([*found, *_in_other_bits(method, block, base)][:_MOST_RULES])


# How each tool names the modules that it keeps; transformers' own way for the others.
_KEPT: Mapping[str, Callable[[list[str]], ModuleNames]] = {
    "awq": module_names.parts,
    "compressed-tensors": module_names.whole_names,
    "modelopt": module_names.with_stars,
}


def _rule(names: ModuleNames, kind: StorageType | None) -> ModuleRule:
    return ModuleRule(names.find, names.names, kind)


def _in_other_bits(method: str, block: Mapping[str, Any], base: Recipe) -> Iterator[ModuleRule]:
    """Yield a rule for each way of storage that a block has for single modules."""
    if method == "mlx":
        yield from _by_type(block, lambda own: _mlx_type(own, block))
    elif method == "gptq":
        dynamic = block.get("dynamic")
        if isinstance(dynamic, Mapping):
            skipped = {name: None for name in texts(dict(dynamic)) if name.startswith("-:")}
            yield _rule(module_names.whole_names(skipped), None)
            others = {name: own for name, own in dynamic.items() if name not in skipped}
            yield from _by_type(others, lambda own: _packed_type(own, block))
    elif method in ("auto-round", "intel/auto-round"):
        extra = block.get("extra_config")
        if isinstance(extra, Mapping):
            yield from _by_type(extra, lambda own: _packed_type(own, block))
    elif method == "hqq":
        yield from _by_tag(block)


def _by_type(stated: Mapping[str, Any], kind_of: _Types) -> Iterator[ModuleRule]:
    """Yield a rule for the modules of each type; false means a module that is not packed."""
    by_type: dict[StorageType | None, list[str]] = {}
    for name in texts(dict(stated)):
        own = stated[name]
        if own is False or isinstance(own, Mapping):
            by_type.setdefault(None if own is False else kind_of(own), []).append(name)
    for kind, names in by_type.items():
        yield _rule(module_names.whole_names(names), kind)


def _mlx_type(own: Mapping[str, Any], block: Mapping[str, Any]) -> StorageType | None:
    mode = own.get("mode", block.get("mode"))
    if mode in ("mxfp4", "nvfp4", "mxfp8"):
        return RECIPES[str(mode)].matrix
    bits, group = _numbers(own, block)
    return MlxGroups(f"{bits}bit-g{group}", bits, group) if bits in (1, 2, 3, 4, 5, 6, 8) and group else None


def _packed_type(own: Mapping[str, Any], block: Mapping[str, Any]) -> StorageType | None:
    bits, group = _numbers(own, block)
    return (
        PackedInt(f"GPTQ-{bits}BIT-G{group}", bits, group, False) if bits in (2, 3, 4, 8) and group else None
    )


def _numbers(own: Mapping[str, Any], block: Mapping[str, Any]) -> tuple[int, int]:
    """Return bits and group size of a module, from its own entry or that of all; 0: not known, or 16 bits."""
    if type(stated := own.get("bits")) is int and not 1 <= stated <= 8:
        return 0, 0
    keys = QuantizationKeys({"quantization": {**block, **own}})
    return keys.bits() or 0, keys.group_size() or 0


def _by_tag(block: Mapping[str, Any]) -> Iterator[ModuleRule]:
    """Yield HQQ's rules by the end of a module's name, such as "self_attn.q_proj"."""
    tags = block.get("quant_config")
    if not isinstance(tags, Mapping) or "weight_quant_params" in tags:
        return
    for tag in texts(dict(tags))[:_MOST_RULES]:
        inner = tags[tag].get("weight_quant_params") if isinstance(tags[tag], Mapping) else None
        keys = QuantizationKeys({"quantization": inner if isinstance(inner, Mapping) else {}})
        bits, group = keys.bits(), keys.group_size() or 0
        if bits in (1, 2, 3, 4, 8):
            yield _rule(
                module_names.starts_and_ends([tag]), HqqGroups(f"HQQ-{bits}BIT-G{group}", bits, group)
            )
