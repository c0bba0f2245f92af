"""ggml's graph allocator, in small: where each tensor of a graph goes in one buffer, and the buffer's size.

Follows ggml/src/ggml-alloc.c: `FreeBlocks` is ggml_dyn_tallocr with one chunk (a CPU buffer has no largest
size), `Buffer.run` is ggml_gallocr_alloc_graph_impl.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

ALIGNMENT_BYTES = 32  # TENSOR_ALIGNMENT, ggml/src/ggml-impl.h

FreeRanges = tuple[tuple[int, int | None], ...]  # start and end of each; the last has no end


class FreeBlocks:
    """Free ranges of a buffer, by address; the last one has no end."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int | None]] = [(0, None)]
        self.ends = [0]  # of everything ever taken

    @property
    def peak_bytes(self) -> int:
        """Bytes the buffer must have."""
        return max(self.ends)

    def take(self, num_bytes: int) -> int:
        """Start of a range of that many bytes, from the smallest block it fits in (the last of equals)."""
        size = aligned(num_bytes)
        best, best_size = len(self.ranges) - 1, None
        for i, (start, end) in enumerate(self.ranges):
            if end is not None and end - start >= size and (best_size is None or end - start <= best_size):
                best, best_size = i, end - start
        start, end = self.ranges[best]
        if end == start + size:
            del self.ranges[best]
        else:
            self.ranges[best] = (start + size, end)
        self.ends.append(start + size)
        return start

    def give(self, start: int, num_bytes: int) -> None:
        """Free a range, joining it with free neighbours."""
        end: int | None = start + aligned(num_bytes)
        at = 0
        while self.ranges[at][0] < start:
            at += 1
        if self.ranges[at][0] == end:
            end = self.ranges.pop(at)[1]
        if at and self.ranges[at - 1][1] == start:
            at -= 1
            start = self.ranges.pop(at)[0]
        self.ranges.insert(at, (start, end))


def aligned(num_bytes: int) -> int:
    """Bytes rounded up to the buffer's alignment."""
    return num_bytes + -num_bytes % ALIGNMENT_BYTES


class Node(NamedTuple):
    """A tensor of a graph: an input, the result of an operation, or a view of one; others by their index."""

    num_bytes: int
    sources: tuple[int, ...] = ()
    view_of: int | None = None  # the tensor whose bytes these are; never itself a view
    in_place: bool = False  # may overwrite a source of the same layout (ggml_op_can_inplace)
    is_input: bool = False  # placed before everything else, freed after its last use
    is_output: bool = False  # stays to the end


class Buffer:
    """Bytes given to the nodes of a graph, in the graph's order.

    Tensors held elsewhere (weights, caches) are left out of a graph; a write to a cache is a view of it, so a
    node of no bytes. Equal bytes stand for equal layout: where sources of an in-place operation are of one
    size but not of one layout, the one of the node's layout must be named first.
    """

    def __init__(self) -> None:
        self.free = FreeBlocks()
        self.starts: dict[int, int] = {}  # of the tensors that hold bytes of their own now

    def run(self, nodes: Sequence[Node], marks: Container[int] = ()) -> list[FreeRanges]:
        """Place and free every node; the free ranges as they were before each marked node."""
        children = [0] * len(nodes)
        views = [0] * len(nodes)
        for i, node in enumerate(nodes):
            for source in node.sources:
                children[source] += 1
            if node.view_of is not None:
                views[node.view_of] += 1
            if node.is_input:
                self.starts[i] = self.free.take(node.num_bytes)
        found: list[FreeRanges] = []
        for i, node in enumerate(nodes):
            if i in marks:
                found.append(tuple(self.free.ranges))
            if node.num_bytes and node.view_of is None and not node.is_input:
                self._place(i, node, nodes, children, views)
            for source in node.sources:
                children[source] -= 1
                if children[source] or views[source]:
                    continue
                held = source
                viewed = nodes[source].view_of
                if viewed is not None:
                    views[viewed] -= 1
                    held = viewed
                if not (children[held] or views[held] or nodes[held].is_output) and held in self.starts:
                    self.free.give(self.starts.pop(held), nodes[held].num_bytes)
        return found

    def _place(
        self, i: int, node: Node, nodes: Sequence[Node], children: Sequence[int], views: Sequence[int]
    ) -> None:
        if node.in_place:
            for source in node.sources:
                # a view holds no bytes of its own, so what it shows is never overwritten
                own = source in self.starts and not nodes[source].is_output
                last_use = children[source] == 1 and not views[source]
                if own and last_use and nodes[source].num_bytes == node.num_bytes:
                    self.starts[i] = self.starts.pop(source)
                    return
        self.starts[i] = self.free.take(node.num_bytes)
