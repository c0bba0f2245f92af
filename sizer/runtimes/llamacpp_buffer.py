"""llama.cpp's compute buffer: the graph of one micro-batch laid out as ggml's allocator does it.

What the allocator does for each node depends on the kind of graph and not on its sizes, so that it is planned
once for all widths of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.formats.gguf_layout import windowed_layers
from sizer.runtimes.ggml_allocator import FreeBlocks, FreeRanges, Part, aligned, lay_out, plan
from sizer.runtimes.llamacpp_graph import Graph, GraphKind, Widths, graph_kind
from sizer.workload import Workload


@lru_cache(maxsize=4096)
def compute_bytes(architecture: Architecture, workload: Workload) -> int:
    """Return bytes of the CPU compute buffer that llama.cpp reserves for a whole micro-batch."""
    return max(allocation_ends(architecture, workload, architecture.executed_layers))


@lru_cache(maxsize=4096)
def touched_compute_bytes(architecture: Architecture, workload: Workload) -> int:
    """Return bytes of that buffer which reading the workload's prompt writes to."""
    tokens = min(workload.ubatch_tokens, workload.prompt_tokens * workload.batch_size)
    smaller = replace(workload, ubatch_tokens=tokens)
    return max(allocation_ends(architecture, smaller, architecture.executed_layers, workload.batch_size))


def allocation_ends(
    architecture: Architecture, workload: Workload, total: int, outputs: int | None = None
) -> list[int]:
    """Return where each allocation of `total` layers ends, in bytes; the buffer holds the largest.

    Layers with and without a window take turns, and the allocator sees nothing but the free ranges: once
    these recur after whole turns, all further layers repeat, and a graph of fewer layers that ends at the
    same place in the cycle has the same size. (One cycle is not always one turn; of two layers
    the first most often ends as it begins.) sizer.grid.compute_buffer does the same for columns.
    """
    turn = _turn(architecture, total)
    layers = min(total, 2 * turn + total % turn)
    while True:
        ends, ranges = reserve(architecture, workload, layers, outputs)
        if layers == total:
            return ends
        cycles = {
            later - earlier
            for earlier in range(layers)
            for later in range(earlier + turn, layers, turn)
            if ranges[earlier] == ranges[later]
        }
        rest = min(((total - layers) % cycle for cycle in cycles), default=layers)
        if not rest:
            return ends
        layers = min(total, layers + rest)


def _turn(architecture: Architecture, total: int) -> int:
    """Return after how many layers windows recur: 1 without any, all layers where they do not recur."""
    windowed = frozenset(windowed_layers(architecture))
    if not windowed:
        return 1
    is_windowed = [layer in windowed for layer in range(total)]
    first = is_windowed.index(not is_windowed[0]) if len(windowed) < total else 0
    # a turn is no shorter than its first run of equal layers; longer ones than this are laid out whole
    for turn in range(1 + first, min(total, _LONGEST_TURN + 1)):
        if is_windowed[turn:] == is_windowed[:-turn]:
            return turn
    return total


_LONGEST_TURN = 64


def reserve(
    architecture: Architecture, workload: Workload, layers: int, outputs: int | None = None
) -> tuple[list[int], list[FreeRanges]]:
    """Return ends of all allocations for a model of `total` layers, and the free ranges before each of them.

    `outputs` are the tokens that have logits, by default all of the micro-batch.
    """
    kind = graph_kind(architecture, workload, layers)
    # the graphs of a model with thousands of layers are large, and asked for once
    known = (planned if layers <= _MOST_LAYERS_KEPT else planned.__wrapped__)(kind, workload, outputs)
    free = FreeBlocks()
    ranges = lay_out(known.parts, known.padded_at((1, *Widths.of(architecture))), free)
    return free.ends, ranges[1:]


class _Planned(NamedTuple):
    """The allocator's steps for a kind of graph, and their sizes as sums of multiples of widths."""

    inputs: tuple[int, ...]
    parts: tuple[Part, ...]  # before the layers, of each layer; sizes are numbers of `sizes`
    sizes: tuple[tuple[tuple[int, int], ...], ...]  # of each: places among 1 and the widths, and factors
    first_terms: tuple[tuple[int, int], ...]  # of each size
    further_terms: tuple[tuple[int, int, int], ...]  # number of a size that is a sum, place and factor

    def padded_at(self, widths: Sequence[int]) -> list[int]:
        """Return the padded bytes of each size at these widths; the first of them is 1."""
        found = [factor * widths[at] for at, factor in self.first_terms]
        for number, at, factor in self.further_terms:
            found[number] += factor * widths[at]
        return [aligned(size) for size in found]


# Stands for a width in a graph without sizes: a size is then a number whose digits to this base are the
# factors of 1 and of each width. 2**31 tokens x 2**31 cells x 4 bytes, a thousand times over, is one digit.
_BASE = 1 << 128
_DIGITS = Widths(*(_BASE ** (1 + place) for place in range(len(Widths._fields))))
_MOST_LAYERS_KEPT = 64


@lru_cache(maxsize=64)
def planned(kind: GraphKind, workload: Workload, outputs: int | None) -> _Planned:
    """Plan the graph once for all architectures of a kind.

    Sizes of different widths count as different, though they are equal at some: that would matter if keys of
    width 1 overwrote the positions of tokens, but heads that have positions are of even width.
    """
    graph = Graph(kind, _DIGITS, workload, outputs)
    parts = plan(graph.nodes, frozenset(graph.layer_starts))
    numbers: dict[int, int] = {}
    for _, size, _ in chain.from_iterable(parts):
        numbers.setdefault(size, len(numbers))
    sizes = tuple(map(_terms, numbers))
    return _Planned(
        tuple(i for i, node in enumerate(graph.nodes) if node.is_input),
        tuple(tuple(step._replace(size=numbers[step.size]) for step in part) for part in parts),
        sizes,
        tuple(terms[0] for terms in sizes),
        tuple((number, *term) for number, terms in enumerate(sizes) for term in terms[1:]),
    )


def _terms(digits: int) -> tuple[tuple[int, int], ...]:
    """Return the place and the factor of each digit that is not 0."""
    found = []
    for place in range(1 + len(Widths._fields)):
        digits, factor = divmod(digits, _BASE)
        if factor:
            found.append((place, factor))
    return tuple(found)
