"""Largest context that fits a memory limit, found in a handful of memory estimates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from sizer.memory import MemoryBreakdown
from sizer.workload import DEFAULT_CONTEXT, Workload

# Largest context of a model that has no limit but memory's.
LONGEST_CONTEXT = 2**20

# A prompt of a token and an answer of one.
_SHORTEST_CONTEXT = 2

# llama.cpp and MLX grow a cache in steps of this many tokens: a boundary is most often a multiple of it.
_USUAL_STEP = 256

# Halve what is left after this number of tries that left more than half.
_MOST_WASTED = 2


class MaxContext(NamedTuple):
    """The largest context that fits, 0 if none does, and what keeps it from being larger."""

    tokens: int
    limited_by: str  # "memory", "positions" (max_position_embeddings) or "search" (LONGEST_CONTEXT)


def max_context(
    memory: Callable[[Workload], MemoryBreakdown],
    workload: Workload,
    held: MemoryBreakdown,
    positions: int | None,
) -> MaxContext | None:
    """Return the largest context that fits the memory limit of `held`; None without a limit.

    At most `positions` (None: no such limit), unless a longer context was asked for (than every request has).
    """
    if held.budget_bytes is None:
        return None
    asked = workload.context_tokens
    longer = asked if asked > DEFAULT_CONTEXT else 0
    limit = LONGEST_CONTEXT if positions is None else max(positions, longer, _SHORTEST_CONTEXT)

    def total_bytes(context: int) -> int:
        return memory(with_context(workload, context)).limited_bytes

    # without windows and states the cache grows by as much for each token
    each = max(held.kv_cache_bytes // asked, 1)
    known = {asked: held.limited_bytes} if asked <= limit else {}
    tokens = largest_context(total_bytes, held.budget_bytes, limit, known, each)
    if tokens < limit:
        return MaxContext(tokens, "memory")
    return MaxContext(tokens, "search" if positions is None else "positions")


def with_additions(
    alone: Callable[[Workload], MemoryBreakdown],
    held: MemoryBreakdown,
    workload: Workload,
    of_draft: Callable[[Workload], MemoryBreakdown] | None,
) -> Callable[[Workload], MemoryBreakdown]:
    """Return a model's memory by workload, with what is held in addition: draft, projector, more tensors."""
    # a file's tensors that the architecture does not have
    more = held.weights_bytes - alone(workload).weights_bytes

    def memory(load: Workload) -> MemoryBreakdown:
        found = alone(load)
        drafted = of_draft(replace(load, gpu_layers=None)) if of_draft else None
        return found._replace(
            weights_bytes=found.weights_bytes + more,
            draft_bytes=drafted.total_bytes - drafted.overhead_bytes if drafted else 0,
            projector_bytes=held.projector_bytes,
        )

    return memory


def with_context(workload: Workload, context: int) -> Workload:
    """Return a workload with another context; its prompt and answer shrink where they do not fit."""
    prompt = min(workload.prompt_tokens, context - 1)
    generated = min(workload.generated_tokens, context - prompt)
    return replace(workload, context_tokens=context, prompt_tokens=prompt, generated_tokens=generated)


def largest_context(
    total_bytes: Callable[[int], int], budget_bytes: int, limit: int, known: dict[int, int], each: int = 1
) -> int:
    """Return the largest context up to `limit` whose bytes fit, 0 if none does; `known` holds some bytes.

    Follows the line through the two contexts nearest to the budget, as memory is nearly linear in them;
    `each` are the bytes of a token as far as they are known.
    """
    points = {context: size for context, size in known.items() if _SHORTEST_CONTEXT <= context <= limit}
    fitting = [context for context, size in points.items() if size <= budget_bytes]
    low = max(fitting, default=_SHORTEST_CONTEXT - 1)  # fits, or is shorter than any
    high = min((context for context in points if context not in fitting and context > low), default=limit + 1)
    wasted = 0
    while high - low > 1:
        wide = high - low
        halve = wasted >= _MOST_WASTED
        guess = (low + high) // 2 if halve else _guess(points, budget_bytes, low, each)
        guess = min(max(guess, low + 1), high - 1)
        points[guess] = total_bytes(guess)
        low, high = (guess, high) if points[guess] <= budget_bytes else (low, guess)
        wasted = 0 if halve or 2 * (high - low) <= wide else wasted + 1
    return low if low >= _SHORTEST_CONTEXT else 0


def _guess(points: dict[int, int], budget_bytes: int, low: int, each: int) -> int:
    """Return the next context to try: where the line meets the budget, at the end of a usual step."""
    nearest = sorted(points.items(), key=lambda point: abs(point[1] - budget_bytes))[:2]
    if not nearest:
        return _SHORTEST_CONTEXT
    (context, size), (other, other_size) = nearest[0], nearest[-1]
    rises = (other_size - size) * (other - context) > 0
    slope = (other_size - size) / (other - context) if rises else each
    reached = context + int((budget_bytes - size) / slope)
    if low % _USUAL_STEP == 0 and low + 1 not in points and reached < low + _USUAL_STEP:
        return low + 1
    aligned = reached - reached % _USUAL_STEP
    return aligned if aligned > low else reached
