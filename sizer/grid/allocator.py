"""ggml's allocator (sizer.runtimes.ggml_allocator) for thousands of shapes at once.

Bytes are counted in units that all sizes are multiples of. The start of a tensor is coded as
`start * 2**31 + (2**31 - 1)` and its end as `end * 2**31 + end`. The start of one tensor less the end of the
one below it is then `room * 2**31 + (2**31 - 1 - end)`: less the size that is wanted, the least of these
numbers is that of the smallest range with enough room, of equal ones of the last, as the allocator chooses,
and its lower bits hold where the range begins. A range that is too small has a negative number, which without
its sign is larger than all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import gcd
from typing import NamedTuple

import numpy as np

from sizer.grid.buffer_steps import Part, Run, Steps, Take
from sizer.grid.columns import Ints
from sizer.runtimes.ggml_allocator import ALIGNMENT_BYTES

_BITS = 31
_LOW = (1 << _BITS) - 1
_AS_END = (1 << _BITS) + 1
_TOP = (_LOW << _BITS) + _LOW  # the highest start
_NEVER = (((1 << 32) - 1) << _BITS) + _LOW  # start of what comes after the last tensor
_BOTTOM = np.zeros(1, np.int64)

# Codes hold ends below 2**31 units. No end is beyond four times the sizes of all steps together.
MOST_UNITS = 2**29

# Rows whose columns fit together in a processor's cache.
_CHUNK = 16_384


class Placed(NamedTuple):
    """Where a tensor of each row begins and ends, coded."""

    start: Ints
    end: Ints


class Allocator:
    """The steps of one kind of graph, run for columns of widths (in the order of Widths)."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    @cached_property
    def unit_bytes(self) -> int:
        """Return the bytes of a unit: all sizes are multiples of it, or padded to the alignment."""
        common = gcd(*(factor for terms in self.steps.sizes for _, factor in terms))
        return ALIGNMENT_BYTES if common % ALIGNMENT_BYTES else common

    def size_bytes(self, size: int, widths: Sequence[Ints]) -> Ints:
        """Return the bytes of one of the steps' sizes, before padding."""
        total = np.zeros(1, np.int64)
        for place, factor in self.steps.sizes[size]:
            total = total + factor * (widths[place - 1] if place else 1)
        return total

    def run(
        self, part: Part, widths: Sequence[Ints], before: Sequence[Placed]
    ) -> tuple[Ints, tuple[Placed, ...]]:
        """Return the highest end (coded) of any tensor of a part, and where those lie that are left after it.

        `before` has those that hold bytes before the part.
        """
        length = len(widths[0])
        highest = np.zeros(length, np.int64)
        after = [Placed(np.empty(length, np.int64), np.empty(length, np.int64)) for _ in part.after]
        for start in range(0, length, _CHUNK):
            rows = slice(start, start + _CHUNK)
            layout = _Layout(self, [column[rows] for column in widths])
            for tensor, placed in zip(part.before, before, strict=True):
                layout.placed[tensor] = Placed(placed.start[rows], placed.end[rows])
            for take in part.takes:
                end = layout.take(take)
                np.maximum(highest[rows], end, out=highest[rows])
            for tensor, whole in zip(part.after, after, strict=True):
                whole.start[rows], whole.end[rows] = layout.placed[tensor]
        return highest, tuple(after)

    def bytes_of(self, end: Ints) -> Ints:
        """Return the bytes below a coded end."""
        found: Ints = (end >> _BITS) * self.unit_bytes
        return found


class _Inputs(NamedTuple):
    """Runs of inputs that hold bytes, from the lowest, and the units of the largest hole between them."""

    runs: tuple[Placed, ...]
    largest_hole: int


class _Size(NamedTuple):
    """A size of each row, coded."""

    wanted: Ints
    below_never: Ints  # what is left of the room before a tensor that never comes
    end_from_top: Ints  # end of a tensor that begins at the highest start there is
    least_units: int


class _Layout:
    """Where the tensors of a chunk of rows lie.

    Tensors that hold bytes are kept sorted by address: a new one is compared with each of them. Inputs lie
    below all others while the holes between them are too small for any tensor.
    """

    def __init__(self, allocator: Allocator, widths: Sequence[Ints]) -> None:
        self.allocator = allocator
        self.widths = widths
        self.placed: dict[int, Placed] = {}
        self.sorted: dict[int | Run, None] = {}  # those whose starts and ends are sorted
        self.starts: list[Ints] = []
        self.ends: list[Ints] = []
        self.fills_holes = False
        self._sizes: dict[int, _Size] = {}
        self._inputs: dict[tuple[Run, ...], _Inputs] = {}

    def take(self, take: Take) -> Ints:
        """Place a tensor and return its end."""
        size = self._size(take.size)
        inputs = self._inputs_of(take.inputs)
        if not self.fills_holes and inputs.largest_hole >= size.least_units:
            self.fills_holes = True
            self.sorted.clear()
        self._sort(take, inputs)
        bottom = _BOTTOM if self.fills_holes or not inputs.runs else inputs.runs[-1].end
        ends = [bottom, *self.ends]
        best = (size.below_never - ends[-1]).view(np.uint64)
        for below, above in zip(ends, self.starts, strict=False):
            room = above - below
            room -= size.wanted
            np.minimum(best, room.view(np.uint64), out=best)
        from_top = best.view(np.int64)
        from_top &= _LOW
        start = _TOP - (from_top << _BITS)
        from_top *= _AS_END
        end = np.subtract(size.end_from_top, from_top, out=from_top)
        self.placed[take.tensor] = Placed(start, end)
        return end

    def _sort(self, take: Take, inputs: _Inputs) -> None:
        """Sort the tensors that hold bytes at a step, if they are not those of the step before."""
        present: dict[int | Run, Placed] = {tensor: self.placed[tensor] for tensor in take.tensors}
        if self.fills_holes:
            present = {**dict(zip(take.inputs, inputs.runs, strict=True)), **present}
        if not self.sorted.keys() <= present.keys():
            self.sorted.clear()
        if not self.sorted:
            self.starts, self.ends = [], []
        for tensor, placed in present.items():
            if tensor not in self.sorted:
                _insert(self.starts, placed.start)
                _insert(self.ends, placed.end)
                self.sorted[tensor] = None

    def _units_of(self, size: int) -> Ints:
        unit = self.allocator.unit_bytes
        found: Ints = -(-self.allocator.size_bytes(size, self.widths) // unit)
        return found

    def _size(self, size: int) -> _Size:
        found = self._sizes.get(size)
        if found is None:
            units = np.broadcast_to(self._units_of(size), len(self.widths[0]))
            wanted = units << _BITS
            coded = _Size(wanted, _NEVER - wanted, (_LOW + units) * _AS_END, int(units.min()))
            found = self._sizes[size] = coded
        return found

    def _inputs_of(self, runs: tuple[Run, ...]) -> _Inputs:
        found = self._inputs.get(runs)
        if found is None:
            found = self._inputs[runs] = _Inputs(*self._place_inputs(runs))
        return found

    def _place_inputs(self, runs: tuple[Run, ...]) -> tuple[tuple[Placed, ...], int]:
        ends = [_BOTTOM]  # of all inputs, in units
        for size in self.allocator.steps.inputs:
            ends.append(ends[-1] + self._units_of(size))
        holes, below = [0], _BOTTOM
        for first, last in runs:
            holes.append(int((ends[first] - below).max()))
            below = ends[last]
        return tuple(
            Placed((ends[first] << _BITS) + _LOW, ends[last] * _AS_END) for first, last in runs
        ), max(holes)


def _insert(codes: list[Ints], code: Ints) -> None:
    """Insert a column of codes in columns that are sorted for each row."""
    for i, other in enumerate(codes):
        codes[i], code = np.minimum(other, code), np.maximum(other, code)
    codes.append(code)
