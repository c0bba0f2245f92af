"""Pruning options of `sizer estimate` and of a batch line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.architecture import Architecture, parse_enum
from sizer.errors import InvalidQuantity
from sizer.estimate import Estimate
from sizer.sparsity import Pattern, Sparsity, check_fraction, removed, without_heads_and_columns, zeros


def estimate_pruned(
    sized: Callable[[Architecture], Estimate], architecture: Architecture, fraction: object, pattern: object
) -> tuple[Estimate, Sparsity]:
    """The estimate after pruning, with a note on it, and what it saved; options as they were given."""
    if fraction is None:
        raise InvalidQuantity("sparsity_pattern: says how to prune; give sparsity with it")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise InvalidQuantity(f"sparsity: must be a number above 0 and below 1, got {fraction!r}")
    if pattern is not None and not isinstance(pattern, str):
        raise InvalidQuantity(f"sparsity_pattern: must be text, got {pattern!r}")
    kind = parse_enum(Pattern, pattern or Pattern.UNSTRUCTURED.value, "sparsity_pattern")
    check_fraction(fraction, kind)
    before = sized(architecture)
    if kind is Pattern.STRUCTURED:
        result = sized(without_heads_and_columns(architecture, fraction))
        pruned = removed(before, result, fraction)
    else:
        result = before
        pruned = zeros(before, fraction, kind)
    return replace(result, assumptions=(*pruned.notes, *result.assumptions)), pruned
