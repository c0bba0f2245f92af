"""Pairs of one size that are trained to the end on purpose, with two seeds, to check the order of scores.

Promotion leaves no pairs of one size: the better one is promoted and the other is not, so that nothing shows
whether the short run ordered them rightly. An audit pair is promoted to the last rung whatever it scored, and
its second seed shows how much one run differs by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

# Files of a pair differ by less than this share of the larger one.
_ONE_SIZE = 0.1
# Seeds of each model of a pair.
AUDIT_SEEDS = 2


class AuditModel(NamedTuple):
    """A model after the first rung: what it is, so that two formats of one shape are no pair."""

    shape: object
    size_bytes: int


def audit_sample(models: Mapping[int, AuditModel], pairs: int) -> tuple[int, ...]:
    """Return the trials of a number of pairs of one size, of the smallest files, each trial in one pair.

    >>> a, b, c = AuditModel("2x64", 100), AuditModel("4x64", 105), AuditModel("8x64", 300)
    >>> audit_sample({0: c, 1: b, 2: a}, 1)
    (1, 2)
    """
    found: list[int] = []
    alike = [
        (models[a].size_bytes + models[b].size_bytes, a, b)
        for a, b in combinations(sorted(models), 2)
        if models[a].shape != models[b].shape
        and abs(models[a].size_bytes - models[b].size_bytes)
        < _ONE_SIZE * max(models[a].size_bytes, models[b].size_bytes)
    ]
    for _, a, b in sorted(alike):
        if len(found) < 2 * pairs and a not in found and b not in found:
            found += [a, b]
    return tuple(sorted(found))
