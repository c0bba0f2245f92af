"""FileTensor: one tensor as a file's header describes it, and totals by storage type."""

from __future__ import annotations

from collections.abc import Iterable
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
    """What a file stores in one type; `num_bytes` is None for a type that is not known."""

    type: str
    tensors: int
    parameters: int
    num_bytes: int | None


def totals_by_type(tensors: Iterable[FileTensor]) -> tuple[TypeTotal, ...]:
    """Tensors, parameters and bytes of each storage type, most parameters first."""
    sums: dict[str, list[int]] = {}
    unknown: set[str] = set()
    for tensor in tensors:
        row = sums.setdefault(tensor.type, [0, 0, 0])
        row[0] += 1
        row[1] += tensor.num_elements
        row[2] += tensor.num_bytes or 0
        if tensor.num_bytes is None:
            unknown.add(tensor.type)
    return tuple(
        TypeTotal(type=name, tensors=row[0], parameters=row[1], num_bytes=None if name in unknown else row[2])
        for name, row in sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))
    )
