"""Which layers of a model look back on a window alone: all but every Nth, which sees the whole context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sizer.errors import InvalidQuantity

# No window has more positions.
MOST_POSITIONS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Positions that sliding layers look back on, 0 for none, and the cycle that ends in a full layer."""

    positions: int = 0
    full_every: int = 1

    @property
    def label(self) -> str:
        """Return "none", or such as "64, 1 in 4 full"."""
        return f"{self.positions}, 1 in {self.full_every} full" if self.positions else "none"

    @property
    def reach(self) -> tuple[int, int]:
        """Return what orders windows by how much of the context a model sees."""
        return (self.positions or MOST_POSITIONS + 1, -self.full_every)


def windows_of(positions: Sequence[int], full_every: Sequence[int]) -> tuple[Windows, ...]:
    """Return every window with every cycle; no window has no cycle."""
    return tuple(
        Windows(positions=size, full_every=cycle)
        for size in positions
        for cycle in (full_every if size else (1,))
    )


def check_windows(positions: Sequence[int], seq_len: int) -> None:
    """Raise InvalidQuantity for windows that hide nothing of the sequences that models are trained on."""
    if long := [size for size in positions if size >= seq_len]:
        raise InvalidQuantity(
            f"windows: models are trained on sequences of {seq_len} tokens, which do not show what a window "
            f"of {long[0]} positions costs; accepted: fewer positions, or a larger seq_len"
        )
