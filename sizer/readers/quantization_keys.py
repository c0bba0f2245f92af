"""Bits and group size of quantized weights in a config.json, in the keys of each tool that writes one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Where a config keeps it: Hugging Face, MLX, older compressed-tensors.
KEYS = ("quantization_config", "quantization", "compression_config")

_MAX_BITS = 8
_MAX_GROUP = 2**20
# torchao and quanto name the type: "int4_weight_only", Int4WeightOnlyConfig, "qint4".
_NAMED_BITS = re.compile(r"u?int([1-8])(?![0-9])", re.IGNORECASE)
# The weights' own bits, where a name has those of the activations first: int8_dynamic_activation_int4_weight.
_WEIGHT_BITS = re.compile(r"int([1-8])_?weight", re.IGNORECASE)
_TREE_DEPTH = 5
_TREE_WIDTH = 20


class QuantizationKeys:
    """The `quantization_config` (Hugging Face) or `quantization` (MLX) of a config."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._blocks = list(_blocks(config))

    @property
    def method(self) -> str | None:
        """`quant_method`, such as "gptq"."""
        return next((m for b in self._blocks if isinstance(m := b.get("quant_method"), str)), None)

    def bits(self, module: str = "") -> int | None:
        """Return the bits of a weight of a module, 1 to 8."""
        return next((n for block in self._of(module) if (n := _block_bits(block)) is not None), None)

    def group_size(self, module: str = "") -> int | None:
        """Return how many weights of a module share a scale."""
        for block in self._of(module):
            value = _first(block, ("group_size", "q_group_size"))
            if type(value) is int and 1 <= value <= _MAX_GROUP:
                return value
        return None

    def _of(self, module: str) -> Iterator[Mapping[str, Any]]:
        """Yield what is stated of a module by its name (MLX), then what is stated of all."""
        for block in self._blocks:
            own = block.get(module) if module else None
            if isinstance(own, Mapping):
                yield own
        for block in self._blocks:
            yield block
            yield from _nested(block)


def _blocks(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    text = config.get("text_config")
    for holder in (config, text if isinstance(text, Mapping) else {}):
        for key in KEYS:
            block = holder.get(key)
            if isinstance(block, Mapping):
                yield block


def _nested(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the blocks inside: compressed-tensors' groups, HQQ's weight parameters."""
    groups = block.get("config_groups")
    if isinstance(groups, Mapping):
        weights = [g["weights"] for g in groups.values() if isinstance(g, Mapping) and "weights" in g]
        stated = [w for w in weights if isinstance(w, Mapping)]
        if len({_block_bits(w) for w in stated}) == 1:  # of groups that differ none is known to be this one
            yield stated[0]
    params = block.get("quant_config")
    if isinstance(params, Mapping):
        inner = params.get("weight_quant_params")
        if isinstance(inner, Mapping):
            yield inner
    arguments = block.get("quant_type_kwargs")  # torchao before its types were written as trees
    if isinstance(arguments, Mapping):
        yield arguments
    yield from _tree_blocks(block.get("quant_type"))


def _tree_blocks(value: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the mappings of a small tree, the outer ones first."""
    if isinstance(value, Mapping) and depth < _TREE_DEPTH:
        yield value
        for inner in list(value.values())[:_TREE_WIDTH]:
            yield from _tree_blocks(inner, depth + 1)


def type_names(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the texts of a small tree of mappings and lists, such as torchao's `quant_type`."""
    if isinstance(value, str):
        yield value[:200]
    elif isinstance(value, Mapping | list) and depth < _TREE_DEPTH + 2:
        items = list(value.values() if isinstance(value, Mapping) else value)[:_TREE_WIDTH]
        for inner in items:
            yield from type_names(inner, depth + 1)


def _block_bits(block: Mapping[str, Any]) -> int | None:
    value = _first(block, ("bits", "w_bit", "num_bits", "nbits"))
    if type(value) is int and 1 <= value <= _MAX_BITS:
        return value
    # transformers' own attributes begin with "_"; some configs hold these alone
    if block.get("load_in_4bit", block.get("_load_in_4bit")) is True:
        return 4
    if block.get("load_in_8bit", block.get("_load_in_8bit")) is True:
        return 8
    for key in ("quant_type", "weights"):
        named = _named(block.get(key))
        if named is not None:
            return named
    return None


def _named(value: object, depth: int = 0) -> int | None:
    """Return the bits in a type's name, looked for in the texts of a small tree (torchao's quant_type)."""
    if isinstance(value, str):
        found = _WEIGHT_BITS.search(value[:200]) or _NAMED_BITS.search(value[:200])
        return int(found[1]) if found else None
    if isinstance(value, Mapping) and depth < 4:
        data = value.get("_data")
        stated = data.get("weight_dtype") if isinstance(data, Mapping) else None
        texts = [stated, value.get("_type"), *list(value.values())[:_TREE_WIDTH]]
        return next((n for item in texts if (n := _named(item, depth + 1)) is not None), None)
    return None


def _first(block: Mapping[str, Any], keys: tuple[str, ...]) -> object:
    return next((block[key] for key in keys if block.get(key) is not None), None)
