"""Which layers of a model have a short convolution in place of attention: all but every Nth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sizer.block_kinds import SharingStrategy
from sizer.errors import InvalidQuantity

# No kernel is longer; LFM2's are 3.
LONGEST_KERNEL = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolutions:
    """Positions of a convolution's kernel, 0 for none, and the cycle that ends in a layer with attention."""

    kernel: int = 0
    attention_every: int = 1

    @property
    def label(self) -> str:
        """Return "none", or such as "3, 1 in 4 attention"."""
        return f"{self.kernel}, 1 in {self.attention_every} attention" if self.kernel else "none"

    @property
    def reach(self) -> tuple[float, int]:
        """Return what orders convolutions by how much of the context layers see; attention sees all of it."""
        return (self.kernel or LONGEST_KERNEL + 1, -self.attention_every)


def convolutions_of(kernels: Sequence[int], attention_every: Sequence[int]) -> tuple[Convolutions, ...]:
    """Return every kernel with every cycle; no convolution has no cycle."""
    return tuple(
        Convolutions(kernel=size, attention_every=cycle)
        for size in kernels
        for cycle in (attention_every if size else (1,))
    )


def check_convolutions(kernels: Sequence[int], sharing: Sequence[str]) -> None:
    """Raise InvalidQuantity for a kernel that mixes no positions, or where every model must share blocks."""
    if 1 in kernels:
        raise InvalidQuantity(
            f"convolutions: a kernel of 1 position mixes none, got {list(kernels)}; accepted: 0, or 2 to "
            f"{LONGEST_KERNEL} positions"
        )
    if any(kernels) and SharingStrategy.NONE.value not in sharing:
        raise InvalidQuantity(
            f"convolutions: models with convolutions share no blocks, got {list(kernels)} and sharing "
            f"{list(sharing)}; accepted: 0, or a sharing with none"
        )
