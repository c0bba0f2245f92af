"""ggml's graph allocator, in small: where each tensor of a graph goes in one buffer, and the buffer's size.

Follows ggml/src/ggml-alloc.c: `FreeBlocks` is ggml_dyn_tallocr with one chunk (a CPU buffer has no largest
size), `Buffer.run` is ggml_gallocr_alloc_graph_impl.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Sequence
from itertools import zip_longest
from typing import NamedTuple

ALIGNMENT_BYTES = 32  # TENSOR_ALIGNMENT, ggml/src/ggml-impl.h

FreeRanges = tuple[tuple[int, int | None], ...]  # start and end of each; the last has no end


class FreeBlocks:
    """Free ranges of a buffer, by address; the last one has no end. Sizes are multiples of the alignment."""

    def __init__(self) -> None:
        self._starts = [0]
        self._stops: list[int] = []  # of all but the last
        self.ends = [0]  # of everything ever taken

    @property
    def ranges(self) -> FreeRanges:
        """Start and end of each free range; None: no end."""
        return tuple(zip_longest(self._starts, self._stops))

    @property
    def peak_bytes(self) -> int:
        """Bytes the buffer must have."""
        return max(self.ends)

    def take(self, size: int) -> int:
        """Start of a range of that size, from the smallest block it fits in (the last of equals)."""
        starts, stops = self._starts, self._stops
        best = len(stops)
        best_room = -1
        for i, stop in enumerate(stops):
            room = stop - starts[i]
            if room >= size and (best_room < 0 or room <= best_room):
                best, best_room = i, room
        start = starts[best]
        if best_room == size:
            del starts[best], stops[best]
        else:
            starts[best] = start + size
        self.ends.append(start + size)
        return start

    def give(self, start: int, size: int) -> None:
        """Free a range, joining it with free neighbours."""
        starts, stops = self._starts, self._stops
        end = start + size
        at = bisect_left(starts, start)
        joins_next = starts[at] == end
        if at and stops[at - 1] == start:
            if joins_next:
                del starts[at], stops[at - 1]
            else:
                stops[at - 1] = end
        elif joins_next:
            starts[at] = start
        else:
            starts.insert(at, start)
            stops.insert(at, end)


def aligned(num_bytes: int) -> int:
    """Return the bytes rounded up to the buffer's alignment."""
    return num_bytes + -num_bytes % ALIGNMENT_BYTES


class Node(NamedTuple):
    """A tensor of a graph: an input, the result of an operation, or a view of one; others by their index."""

    num_bytes: int
    sources: tuple[int, ...] = ()
    view_of: int | None = None  # the tensor whose bytes these are; never itself a view
    in_place: bool = False  # may overwrite a source of the same layout (ggml_op_can_inplace)
    is_input: bool = False  # placed before everything else, freed after its last use
    is_output: bool = False  # stays to the end


class Placement(NamedTuple):
    """What the allocator does for one node, whatever the sizes."""

    node: int
    takes_bytes: bool
    may_overwrite: tuple[int, ...]  # sources that nothing needs any more, if they hold bytes of this size
    no_longer_used: tuple[int, ...]


class Plan(NamedTuple):
    """The steps of a graph: inputs first, then each node in the graph's order, in parts between marks."""

    inputs: tuple[int, ...]
    parts: tuple[tuple[Placement, ...], ...]


def plan(nodes: Sequence[Node], marks: Container[int] = ()) -> Plan:
    """Return when each node's bytes are taken and freed; a part ends before each marked node."""
    children = [0] * len(nodes)
    views = [0] * len(nodes)
    for node in nodes:
        for source in node.sources:
            children[source] += 1
        if node.view_of is not None:
            views[node.view_of] += 1
    parts: list[list[Placement]] = [[]]
    for i, node in enumerate(nodes):
        if i in marks:
            parts.append([])
        # a view holds no bytes itself, so what it shows is never overwritten
        last_used = (s for s in node.sources if node.in_place and children[s] == 1 and not views[s])
        may_overwrite = tuple(source for source in last_used if not nodes[source].is_output)
        freed = []
        for source in node.sources:
            children[source] -= 1
            if children[source] or views[source]:
                continue
            held = source
            viewed = nodes[source].view_of
            if viewed is not None:
                views[viewed] -= 1
                held = viewed
            if not (children[held] or views[held] or nodes[held].is_output):
                freed.append(held)
        takes_bytes = bool(node.num_bytes) and node.view_of is None and not node.is_input
        if takes_bytes or freed:
            parts[-1].append(Placement(i, takes_bytes, may_overwrite, tuple(freed)))
    inputs = tuple(i for i, node in enumerate(nodes) if node.is_input)
    return Plan(inputs, tuple(tuple(part) for part in parts))


class Buffer:
    """Bytes given to the nodes of a graph, in the graph's order.

    Tensors held elsewhere (weights, caches) are left out of a graph; a write to a cache is a view of it, so a
    node of no bytes. Equal bytes stand for equal layout: where sources of an in-place operation are of one
    size but not of one layout, the one of the node's layout must be named first.
    """

    def __init__(self) -> None:
        self.free = FreeBlocks()
        self.starts: dict[int, int] = {}  # of the tensors that hold bytes of their own now

    def run(self, planned: Plan, sizes: Sequence[int], padded: Sequence[int]) -> list[FreeRanges]:
        """Place and free every node; the free ranges as they were before each mark.

        `padded` are the sizes of the nodes rounded up to the alignment.
        """
        starts, free = self.starts, self.free
        take, give = free.take, free.give
        for i in planned.inputs:
            starts[i] = take(padded[i])
        found: list[FreeRanges] = []
        for part in planned.parts:
            if part is not planned.parts[0]:
                found.append(free.ranges)
            for i, takes_bytes, may_overwrite, no_longer_used in part:
                if takes_bytes:
                    for source in may_overwrite:
                        if source in starts and sizes[source] == sizes[i]:
                            starts[i] = starts.pop(source)
                            break
                    else:
                        starts[i] = take(padded[i])
                for held in no_longer_used:
                    if held in starts:
                        give(starts.pop(held), padded[held])
        return found
