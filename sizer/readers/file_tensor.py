"""FileTensor: one tensor as a file's header describes it, and totals by storage type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

# More than known models have (DeepSeek-V3 in safetensors: about 92,000), few enough to list in a second.
MAX_TENSORS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTensor:
    """A stored tensor: its file's own name and type, shape as PyTorch has it, place and bytes of its data.

    `offset` counts from the start of the file `file`; `num_bytes` is None for a type that is not known.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    file: str
    offset: int
    num_bytes: int | None

    @property
    def num_elements(self) -> int:
        """Number of weights in the tensor."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeTotal:
    """Tensors of a file stored in one type; `num_bytes` is None for an unknown type."""

    type: str
    tensors: int
    parameters: int
    num_bytes: int | None


def tensor_bytes(tensors: Sequence[FileTensor]) -> int | None:
    """Sum the bytes of all tensors without padding; None if one has an unknown type."""
    sizes = [tensor.num_bytes for tensor in tensors]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def totals_by_type(
    tensors: Iterable[FileTensor], weights: Mapping[str, int] | None = None
) -> tuple[TypeTotal, ...]:
    """Sum tensors, parameters and bytes of each storage type, most parameters first.

    `weights` is the number of weights behind a tensor, by name, where it is not the number of its elements.
    """
    behind = weights or {}
    sums: dict[str, list[int]] = {}
    unknown: set[str] = set()
    for tensor in tensors:
        row = sums.setdefault(tensor.type, [0, 0, 0])
        row[0] += 1
        row[1] += behind.get(tensor.name, tensor.num_elements)
        row[2] += tensor.num_bytes or 0
        if tensor.num_bytes is None:
            unknown.add(tensor.type)
    return tuple(
        TypeTotal(type=name, tensors=row[0], parameters=row[1], num_bytes=None if name in unknown else row[2])
        for name, row in sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))
    )
