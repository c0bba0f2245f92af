"""llama.cpp's compute buffer for every row of a grid, exactly as sizer.runtimes.llamacpp_buffer has it.

The allocator looks at nothing but the free ranges, and before a layer these follow from where the layer's
input lies. So a layer is a function of that one number, and after a few layers the numbers recur: two or
three layers and the last one are worked out for each shape, whatever its depth. Rows that differ in depth and
vocabulary alone share the layers.

A closed form would need none of this, but is off by more than 2 % of total memory: the largest of logits,
feed-forward block and attention by -10.8 to +1.6 % on the oracle's 181 rows and -17 to +15 % on random
shapes; the largest sum of live tensors, which follows the whole graph, by as much as 6.9 and 12.4 %, always
too little. Both miss the holes that the allocator leaves; `benchmarks/speed/compute_buffer.py` measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sizer.grid.allocator import MOST_UNITS, Allocator, Placed
from sizer.grid.buffer_steps import steps
from sizer.grid.columns import Ints
from sizer.grid.distinct import distinct
from sizer.runtimes.llamacpp_graph import GraphKind
from sizer.workload import Workload

# Rows of different shapes that are worked out together.
_BLOCK = 2**16

# Fewer rows are calculated sooner one by one.
_FEW = 64


@lru_cache(maxsize=16)
def _allocator(kind: GraphKind, workload: Workload) -> Allocator:
    return Allocator(steps(kind, workload))


def buffer_bytes(
    kind: GraphKind, workload: Workload, widths: Sequence[Ints], layers: Ints, alone: Callable[[int], int]
) -> Ints:
    """Return the bytes of the compute buffer of each row.

    `kind` is of as many layers as `steps` wants; `widths` are columns in the order of Widths and `layers` the
    numbers of layers that run. `alone` returns the bytes of one row: of a few rows, and of those with sizes
    beyond the allocator's codes.
    """
    length = len(layers)
    if length <= _FEW:
        return np.array([alone(row) for row in range(length)], np.int64)
    allocator = _allocator(kind, workload)
    shapes = distinct([widths[at] for at in allocator.steps.layer_widths])
    if shapes is not None:
        found = _Layers(allocator, [column[shapes.rows] for column in widths], int(layers.max()))
        result = found.bytes(widths, layers, shapes.number)
    else:
        result = np.empty(length, np.int64)
        for start in range(0, length, _BLOCK):
            rows = slice(start, start + _BLOCK)
            part, depths = [column[rows] for column in widths], layers[rows]
            result[rows] = _Layers(allocator, part, int(depths.max())).bytes(part, depths, None)
    for row in np.flatnonzero(_are_large(allocator, widths)):
        result[row] = alone(int(row))
    return result


def _are_large(allocator: Allocator, widths: Sequence[Ints]) -> NDArray[np.bool_]:
    """Return which rows have sizes that may be too large for the allocator's codes."""
    steps = allocator.steps
    parts = (steps.first, steps.middle, steps.last, steps.end)
    sizes = [*steps.inputs, *(take.size for part in parts for take in part.takes)]

    def exceed(columns: Sequence[Ints]) -> NDArray[np.bool_]:
        total = np.zeros(1)
        for size in sizes:
            total = total + allocator.size_bytes(size, columns)
        return total > MOST_UNITS * allocator.unit_bytes

    if exceed([np.array([column.max()]) for column in widths]).any():
        return exceed(widths)
    return np.zeros(len(widths[0]), np.bool_)


class _State(NamedTuple):
    """The input of a layer of each shape, and the highest end (coded) of all steps before the layer."""

    placed: Placed
    highest: Ints


class _Layers:
    """All layers of many shapes but the last.

    `states` are those before the first layer, the second and so on. A shape's states recur from number
    `first` on, every `cycle` layers; the cycle is 0 where `most_layers` end before.
    """

    def __init__(self, allocator: Allocator, widths: Sequence[Ints], most_layers: int) -> None:
        self.allocator = allocator
        self.widths = widths
        highest, (placed,) = allocator.run(allocator.steps.first, widths, ())
        self.states = [_State(placed, highest)]
        self.first = np.zeros(len(highest), np.int64)
        self.cycle = np.zeros(len(highest), np.int64)
        going: Ints | slice = slice(None)
        while len(self.states) < most_layers:
            self._add_state(going)
            going = np.flatnonzero(self.cycle == 0)
            if not len(going):
                break

    def _add_state(self, going: Ints | slice) -> None:
        """Run a layer of those shapes whose states have not recurred."""
        placed, highest = self.states[-1]
        widths = [column[going] for column in self.widths]
        part = Placed(placed.start[going], placed.end[going])
        top, (found,) = self.allocator.run(self.allocator.steps.middle, widths, [part])
        for number, earlier in reversed(list(enumerate(self.states))):
            recurs = found.start == earlier.placed.start[going]
            self.first[going] = np.where(recurs, number, self.first[going])
            self.cycle[going] = np.where(recurs, len(self.states) - number, self.cycle[going])
        added = _State(Placed(placed.start.copy(), placed.end.copy()), highest.copy())
        added.placed.start[going], added.placed.end[going] = found
        added.highest[going] = np.maximum(highest[going], top)
        self.states.append(added)

    def bytes(self, widths: Sequence[Ints], layers: Ints, number: Ints | None) -> Ints:
        """Return the bytes of the buffers of rows with these numbers of layers.

        `number` has the shape of each row; None: row and shape are one.
        """
        allocator = self.allocator
        shape = np.arange(len(layers)) if number is None else number
        before = layers - 1
        first, cycle = self.first[shape], self.cycle[shape]
        recurs = (cycle > 0) & (before >= first + cycle)
        state = np.where(recurs, first + (before - first) % np.maximum(cycle, 1), before)
        count = len(self.states)
        highest = _select([s.highest for s in self.states], np.minimum(before, count - 1), shape)
        ends = None if number is None else distinct([shape * count + state])
        if ends is not None:
            shape, state = shape[ends.rows], state[ends.rows]
        lasting = [column[shape] for column in self.widths] if number is not None else self.widths
        placed = Placed(
            _select([s.placed.start for s in self.states], state, shape),
            _select([s.placed.end for s in self.states], state, shape),
        )
        top, after = allocator.run(allocator.steps.last, lasting, [placed])
        if ends is not None:
            top = top[ends.number]
            after = tuple(Placed(start[ends.number], end[ends.number]) for start, end in after)
        end, _ = allocator.run(allocator.steps.end, widths, after)
        return allocator.bytes_of(np.maximum(np.maximum(highest, top), end))


def _select(columns: Sequence[Ints], which: Ints, row: Ints) -> Ints:
    """Return, for each entry, the row of one of some columns."""
    return np.stack(columns).ravel().take(which * len(columns[0]) + row)
