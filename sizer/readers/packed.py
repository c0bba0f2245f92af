"""Weights behind packed words: quantized checkpoints in safetensors, counted as the weights they stand for.

A layout that does not show how many weights a word holds is counted as stored, and listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sizer.readers.file_tensor import FileTensor
from sizer.readers.packed_layouts import RULES, PackedTensor, Words
from sizer.readers.quantization_keys import QuantizationKeys

# Scales of a quantized cache, which lie in modules that hold no packed weights.
_CACHE_SCALES = (".k_scale", ".v_scale", ".q_scale", ".prob_scale", ".kv_scale")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Packed weights of a file; `weights` has the real number of weights of each stored tensor that packs."""

    tensors: tuple[PackedTensor, ...]
    weights: Mapping[str, int]
    num_bytes: int  # of words, scales and the rest

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the layouts, that of most weights first."""
        return _most(self.tensors, lambda packed: packed.method)

    @property
    def num_weights(self) -> int:
        """Weights behind the packed words."""
        return sum(packed.weights or 0 for packed in self.tensors)

    @property
    def bits_per_weight(self) -> float | None:
        """Bits that a packed weight takes in the file, scales included; None where some are not known."""
        return 8 * self.num_bytes / self.num_weights if self.num_weights and not self.unread else None

    @property
    def unread(self) -> tuple[str, ...]:
        """Stored tensors whose weights cannot be counted: they count as stored."""
        return tuple(packed.stored for packed in self.tensors if packed.weights is None)

    def logical(self, tensors: Iterable[FileTensor]) -> dict[str, int]:
        """Return the number of weights by the name that an unpacked file would have."""
        names = {packed.stored: packed.name for packed in self.tensors}
        counts = {t.name: self.weights.get(t.name, t.num_elements) for t in tensors}
        return {names.get(name, name): count for name, count in counts.items() if count or name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: method, bits, group size, counts."""
        by_bits: dict[str, int] = {}
        for packed in self.tensors:
            if packed.bits is not None and packed.weights is not None:
                by_bits[str(packed.bits)] = by_bits.get(str(packed.bits), 0) + packed.weights
        bits = _most(self.tensors, lambda packed: packed.bits)
        groups = _most(self.tensors, lambda packed: packed.group_size)
        return {
            "method": self.methods[0],
            "methods": list(self.methods),
            "bits": bits[0],
            "bits_from": _most(self.tensors, lambda packed: packed.bits_from)[0],
            "group_size": groups[0],
            "weights_by_bits": by_bits,
            "packed_tensors": len(self.tensors),
            "packed_weights": self.num_weights,
            "num_bytes": self.num_bytes,
            "bits_per_weight": self.bits_per_weight,
            "counted_as_stored": list(self.unread),
        }


def packing(tensors: Sequence[FileTensor], config: Mapping[str, Any] | None = None) -> Packing | None:
    """Return the packed weights of a file, None if nothing in it is packed; `config` is that of the model."""
    by_name = {tensor.name: tensor for tensor in tensors}
    keys = QuantizationKeys(config or {})
    found: list[PackedTensor] = []
    for tensor in tensors:
        for suffix, rules in RULES.items():
            if tensor.name.endswith(suffix):
                prefix = tensor.name.removesuffix(suffix)
                packed = (rule(Words(tensor, prefix, by_name, keys)) for rule in rules)
                found += [row for row in packed if row is not None][:1]
                break
    if not found:
        return None
    weights = {row.stored: row.weights for row in found if row.weights is not None}
    others = {name for row in found for name in row.others}
    others |= {tensor.name for tensor in tensors if tensor.name.endswith(_CACHE_SCALES)}
    held = {row.stored for row in found} | others
    return Packing(
        tensors=tuple(found),
        weights={**weights, **dict.fromkeys(others - weights.keys(), 0)},
        num_bytes=sum(by_name[name].num_bytes or 0 for name in held),
    )


def _most(tensors: Sequence[PackedTensor], key: Callable[[PackedTensor], _T]) -> tuple[_T, ...]:
    """Return the values of a key, that of most weights first."""
    sums: dict[_T, int] = {}
    for packed in tensors:
        sums[key(packed)] = sums.get(key(packed), 0) + (packed.weights or 0)
    return tuple(sorted(sums, key=lambda value: -sums[value]))
