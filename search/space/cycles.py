"""Layers of a model that are of another kind: all but every Nth, counted back from the last."""

from __future__ import annotations


def all_but_every(layers: int, cycle: int) -> tuple[int, ...]:
    """Return all layers but the last of each cycle, counted so that the model's last is one of those.

    >>> all_but_every(6, 3)
    (0, 1, 3, 4)
    >>> all_but_every(5, 3)
    (0, 2, 3)
    """
    return tuple(layer for layer in range(layers) if (layers - 1 - layer) % cycle)


def cycle_of(some: tuple[int, ...], layers: int) -> int:
    """Return the shortest cycle that some of a model's layers may be of.

    That of layers in another order is the nearest whole number of layers to one of the others.
    """
    cycles = (n for n in range(2, layers + 2) if all_but_every(layers, n) == some)
    return next(cycles, -(-layers // max(layers - len(some), 1)))
