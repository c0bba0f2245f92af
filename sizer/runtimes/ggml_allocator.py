"""ggml's graph allocator, in small: where each tensor of a graph goes in one buffer, and the buffer's size.

Follows ggml/src/ggml-alloc.c: `FreeBlocks` is ggml_dyn_tallocr with one chunk (a CPU buffer has no largest
size), `plan` and `lay_out` together are ggml_gallocr_alloc_graph_impl.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping, Sequence
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
        best, best_room = len(stops), None
        for i, stop in enumerate(stops):
            room = stop - starts[i]
            if room >= size and (best_room is None or room <= best_room):
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


class PlanStep(NamedTuple):
    """A tensor is given its bytes, or they are freed."""

    tensor: int
    size: int  # as the node has it
    takes: bool


Part = tuple[PlanStep, ...]  # of a graph, between marks


def plan(nodes: Sequence[Node], marks: Container[int] = ()) -> list[Part]:
    """Return when the bytes of each tensor are taken and freed, inputs first; marked nodes begin a part.

    Tensors held elsewhere (weights, caches) are left out of a graph; a write to a cache is a view of it, so a
    node of no bytes. Equal bytes stand for equal layout: where sources of an in-place operation are of one
    size but not of one layout, the one of the node's layout must be named first.
    """
    children = [0] * len(nodes)
    views = [0] * len(nodes)
    for node in nodes:
        for source in node.sources:
            children[source] += 1
        if node.view_of is not None:
            views[node.view_of] += 1
    held = {i: i for i, node in enumerate(nodes) if node.is_input}  # nodes and whose bytes they hold
    parts = [[PlanStep(i, nodes[i].num_bytes, takes=True) for i in held]]
    for i, node in enumerate(nodes):
        if i in marks:
            parts.append([])
        if node.num_bytes and node.view_of is None and not node.is_input:
            # a view holds no bytes itself, so what it shows is never overwritten
            last_used = (s for s in node.sources if node.in_place and children[s] == 1 and not views[s])
            may_overwrite = (s for s in last_used if s in held and not nodes[s].is_output)
            overwritten = next((s for s in may_overwrite if nodes[s].num_bytes == node.num_bytes), None)
            if overwritten is None:
                parts[-1].append(PlanStep(i, node.num_bytes, takes=True))
            held[i] = i if overwritten is None else held.pop(overwritten)
        for source in node.sources:
            children[source] -= 1
            if children[source] or views[source]:
                continue
            shown = source
            viewed = nodes[source].view_of
            if viewed is not None:
                views[viewed] -= 1
                shown = viewed
            if shown in held and not (children[shown] or views[shown] or nodes[shown].is_output):
                tensor = held.pop(shown)
                parts[-1].append(PlanStep(tensor, nodes[tensor].num_bytes, takes=False))
    return list(map(tuple, parts))


def lay_out(
    parts: Iterable[Part], padded: Sequence[int] | Mapping[int, int], free: FreeBlocks
) -> list[FreeRanges]:
    """Take and free the bytes of every tensor; return the free ranges as they were before each part.

    `padded` are the sizes that steps name, rounded up to the alignment.
    """
    take, give = free.take, free.give
    starts: dict[int, int] = {}
    found = []
    for part in parts:
        found.append(free.ranges)
        for tensor, size, takes in part:
            if takes:
                starts[tensor] = take(padded[size])
            else:
                give(starts[tensor], padded[size])
    return found
