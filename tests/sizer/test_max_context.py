"""The largest context that fits: it fits, one more token does not, and few estimates find it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.max_context import LONGEST_CONTEXT, largest_context, with_context
from sizer.memory import MemoryBreakdown
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model
from sizer.runtimes import runtime
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.workload import Workload

CASES = [
    ("Llama-3.2-1B", "llama.cpp", "Q4_K_M"),
    ("gemma-3-270m", "llama.cpp", "Q8_0"),
    ("Qwen3-0.6B", "mlx", "4bit"),
    ("SmolLM2-1.7B", "transformers", "nf4"),
    ("TinyLlama-1.1B", "executorch", "8da4w-g32-e8"),
    ("TinyLlama-1.1B", "web-llm", "q4f16_1"),
]


def total_bytes(sized: Estimate, context: int) -> int:
    """Estimate again with another context."""
    again = estimate(
        architecture=sized.architecture,
        format=sized.format,
        runtime=sized.runtime,
        workload=with_context(sized.workload, context),
    )
    return again.memory.total_bytes


@pytest.mark.parametrize(("name", "engine", "format_name"), CASES)
@pytest.mark.parametrize("spare", [0.05, 0.3, 1.0])
def test_it_fits_and_one_more_token_does_not(name: str, engine: str, format_name: str, spare: float) -> None:
    architecture = model(name).architecture
    workload = Workload(cache_type=runtime(engine).cache_types[0])

    def size(limit: int | None) -> Estimate:
        return estimate(
            architecture=architecture,
            format=format_name,
            runtime=engine,
            workload=workload,
            max_memory_bytes=limit,
            is_hypothetical=True,
        )

    at_2048 = size(None).memory.total_bytes
    sized = size(round(at_2048 * (1 + spare)))
    found = sized.max_context
    assert found is not None
    assert found.limited_by == "memory"
    assert found.tokens >= 2048
    assert total_bytes(sized, found.tokens) <= sized.memory.budget_bytes  # type: ignore[operator]
    assert total_bytes(sized, found.tokens + 1) > sized.memory.budget_bytes  # type: ignore[operator]


def test_a_cache_worked_by_hand() -> None:
    # SmolLM2-135M: 30 layers x 2 x 3 heads x 64 x 2 bytes = 23,040 bytes a token, in steps of 256 tokens
    smol = model("SmolLM2-135M").architecture
    plain = estimate(architecture=smol, format="Q8_0")
    at_2048 = plain.memory.total_bytes
    sized = estimate(architecture=smol, format="Q8_0", max_memory_bytes=at_2048 + 256 * 23_040 + 100_000)
    assert sized.max_context == (2048 + 256, "memory")
    assert estimate(architecture=smol, format="Q8_0", max_memory_bytes=at_2048).max_context == (
        2048,
        "memory",
    )
    assert estimate(architecture=smol, format="Q8_0", max_memory_bytes=10**10).max_context == (
        8192,
        "positions",
    )
    assert estimate(architecture=smol, format="Q8_0", max_memory_bytes=10**6).max_context == (0, "memory")
    assert plain.max_context is None
    assert plain.to_dict()["memory"]["max_context"] is None


def test_a_shape_that_nobody_trained_has_no_limit_but_memory() -> None:
    smol = model("SmolLM2-135M").architecture
    sized = estimate(architecture=smol, format="Q8_0", max_memory_bytes=10**11, is_hypothetical=True)
    assert sized.max_context == (LONGEST_CONTEXT, "search")


def test_the_context_that_every_request_has_does_not_count_as_asked_for() -> None:
    sized = estimate(architecture=model("gpt2").architecture, format="Q8_0", max_memory_bytes=10**10)
    assert sized.max_context == (1024, "positions")


def test_a_context_beyond_the_models_positions_that_was_asked_for_counts() -> None:
    smol = model("SmolLM2-135M").architecture
    workload = Workload(context_tokens=16_384)
    sized = estimate(architecture=smol, format="Q8_0", workload=workload, max_memory_bytes=10**10)
    assert sized.max_context == (16_384, "positions")


@pytest.mark.parametrize("name", ["SmolLM2-135M", "Llama-3.2-1B", "gemma-3-270m", "Qwen3-4B", "LFM2-350M"])
@pytest.mark.parametrize("limit", [3 * 10**9, 7 * 10**9])
def test_a_model_takes_a_handful_of_estimates(name: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sized = estimate(
        architecture=model(name).architecture, format="Q4_K_M", max_memory_bytes=limit, is_hypothetical=True
    )
    asked: list[Workload] = []
    kept = LlamaCpp.memory

    def counted(self: LlamaCpp, *arguments: Any) -> MemoryBreakdown:
        asked.append(arguments[-1])
        return kept(self, *arguments)

    monkeypatch.setattr(LlamaCpp, "memory", counted)
    assert sized.max_context is not None
    assert len(asked) <= 7


@given(
    st.integers(0, 10**9),
    st.integers(1, 200_000),
    st.sampled_from([1, 256, 1024]),
    st.integers(-(10**8), 10**10),
    st.sampled_from([2048, 131_072, LONGEST_CONTEXT]),
    st.integers(2, 4096),
)
@settings(max_examples=300, deadline=None)
def test_few_estimates_find_it(fixed: int, each: int, step: int, spare: int, limit: int, known: int) -> None:
    asked: list[int] = []

    def size(context: int) -> int:
        asked.append(context)
        return fixed + each * (-(-context // step) * step)

    found = largest_context(size, fixed + spare, limit, {known: size(known)}, each)
    assert len(asked) <= 64
    assert found in (0, limit) or size(found) <= fixed + spare < size(found + 1)
    assert found or size(2) > fixed + spare
