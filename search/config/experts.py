"""How many experts each feed-forward block of a model has, and how many of them a token uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sizer.errors import InvalidQuantity

MOST_EXPERTS = 8
# A token's only expert has all the weight: the router's scores change nothing, and it learns nothing of them.
FEWEST_USED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """Experts of each feed-forward block, and those that a token uses; 1 of 1 is one block for all tokens."""

    count: int = 1
    used: int = 1

    @property
    def label(self) -> str:
        """Return "none", or such as "2 of 4"."""
        return f"{self.used} of {self.count}" if self.count > 1 else "none"

    @property
    def unused(self) -> tuple[float, int]:
        """Return what orders experts by how many weights a token leaves out."""
        return (self.count / self.used, self.count)


def experts_of(counts: Sequence[int], used: Sequence[int]) -> tuple[Experts, ...]:
    """Return every number of experts with every number that a token may use of them."""
    return tuple(
        Experts(count=count, used=each)
        for count in counts
        for each in (used if count > 1 else (1,))
        if each <= count
    )


def check_experts(counts: Sequence[int], used: Sequence[int]) -> None:
    """Raise InvalidQuantity for numbers of experts of which a token can use none of the numbers listed."""
    if few := [count for count in counts if 1 < count < min(used)]:
        raise InvalidQuantity(
            f"experts_used: of {few[0]} experts a token cannot use {min(used)}; accepted: {FEWEST_USED} to "
            f"{few[0]}"
        )
