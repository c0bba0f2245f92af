"""The steps of ggml's allocator for one kind of graph, worked out once for shapes of all sizes.

Which tensors hold bytes at each step follows from the graph alone. What is left for the sizes of a shape is
where each tensor goes among those that hold bytes then: `allocator` works that out for many shapes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from sizer.runtimes.ggml_allocator import PlanStep
from sizer.runtimes.llamacpp_buffer import planned
from sizer.runtimes.llamacpp_graph import GraphKind, Widths
from sizer.workload import Workload

# With three layers a graph has one that is neither the first nor the last.
LAYERS = 3

_VOCABULARY = 1 + Widths._fields.index("vocab_size")

Terms = tuple[tuple[int, int], ...]  # places among 1 and the widths, and factors
Run = tuple[int, int]  # inputs without a gap between them: the first, and the one after the last


class Take(NamedTuple):
    """A tensor that is given bytes, and all that hold bytes at that time."""

    tensor: int
    size: int  # place among the sizes
    tensors: tuple[int, ...]
    inputs: tuple[Run, ...]


class Part(NamedTuple):
    """Consecutive steps: the tensors that hold bytes before and after them, other than inputs."""

    before: tuple[int, ...]
    takes: tuple[Take, ...]
    after: tuple[int, ...]


class Steps(NamedTuple):
    """The steps of a graph: those before its layers, of each middle layer, and of the last layer.

    `end` has the steps after the last layer, from the first whose size depends on the vocabulary.
    """

    sizes: tuple[Terms, ...]
    inputs: tuple[int, ...]  # places of their sizes
    first: Part
    middle: Part
    last: Part
    end: Part

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Return the places of the widths that all but the last steps depend on, in Widths."""
        takes = [*self.first.takes, *self.middle.takes, *self.last.takes]
        used = {*self.inputs, *(take.size for take in takes)}
        return tuple(sorted({place - 1 for size in used for place, _ in self.sizes[size] if place}))


def steps(kind: GraphKind, workload: Workload) -> Steps:
    """Return the steps of a kind's graph; `kind` is of LAYERS layers that are all alike."""
    known = planned(kind, workload, None)
    walk = _Walk(known.inputs)
    first, _, middle, last = map(walk.part, known.parts)
    at = next(i for i, take in enumerate(last.takes) if _uses_vocabulary(known.sizes[take.size]))
    between = last.takes[at].tensors
    return Steps(
        sizes=known.sizes,
        inputs=tuple(step.size for step in known.parts[0][: len(known.inputs)]),
        first=first,
        middle=middle,
        last=Part(last.before, last.takes[:at], between),
        end=Part(between, last.takes[at:], last.after),
    )


def _uses_vocabulary(terms: Terms) -> bool:
    return any(place == _VOCABULARY for place, _ in terms)


class _Walk:
    """A walk through the steps that keeps which tensors hold bytes; inputs are numbers of the order."""

    def __init__(self, inputs: Sequence[int]) -> None:
        self.inputs = {node: number for number, node in enumerate(inputs)}
        self.held: dict[int, None] = {}

    def part(self, planned: Sequence[PlanStep]) -> Part:
        """Return the steps of some of the graph's nodes."""
        before, takes = self._tensors(), []
        for tensor, size, is_taken in planned:
            if not is_taken:
                del self.held[tensor]
                continue
            if tensor not in self.inputs:
                takes.append(Take(tensor, size, self._tensors(), self._runs()))
            self.held[tensor] = None
        return Part(before, tuple(takes), self._tensors())

    def _tensors(self) -> tuple[int, ...]:
        return tuple(tensor for tensor in self.held if tensor not in self.inputs)

    def _runs(self) -> tuple[Run, ...]:
        held = sorted(self.inputs[tensor] for tensor in self.held if tensor in self.inputs)
        runs = [[i for _, i in run] for _, run in groupby(enumerate(held), lambda pair: pair[1] - pair[0])]
        return tuple((run[0], run[-1] + 1) for run in runs)
