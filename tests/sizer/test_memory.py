"""Memory of llama.cpp against its own allocator's figures, and the KV cache worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity, UnknownName
from sizer.memory import kv_bytes_per_token, kv_cache_bytes
from sizer.registry import model
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.workload import Workload
from tests.published_facts import json_lines
from tests.sizer.test_formats_llamacpp import oracle_architecture
from tests.strategies import architectures

ORACLE = json_lines("oracle_llama_memory.jsonl")
MIB = 2**20


def oracle_workload(row: dict[str, Any]) -> Workload:
    """Workload of an oracle row."""
    return Workload(
        context_tokens=row["n_ctx"],
        ubatch_tokens=row["n_ubatch"],
        cache_type=row["cache_type"],
        flash_attention=row["flash_attention"],
    )


def test_the_kv_cache_is_llama_cpps_in_every_row() -> None:
    assert len(ORACLE) > 100
    for row in ORACLE:
        size = kv_cache_bytes(oracle_architecture(row["shape"]), oracle_workload(row)) / MIB
        assert size == pytest.approx(row["kv_mib"], abs=0.006), row["name"]  # printed to two decimals


def test_the_output_buffer_is_one_row_of_logits() -> None:
    for row in ORACLE:
        a = oracle_architecture(row["shape"])
        memory = LlamaCpp().memory(a, (), oracle_workload(row))
        assert memory.output_bytes / MIB == pytest.approx(row["output_mib"], abs=0.006), row["name"]


def test_kv_bytes_worked_by_hand() -> None:
    a = model("MobileLLM-125M").architecture
    # 30 layers, keys and values, 3 heads of 64, two bytes
    assert kv_bytes_per_token(a, "F16") == 30 * 2 * 3 * 64 * 2 == 23_040
    # q8_0 stores 32 values in 34 bytes
    assert kv_bytes_per_token(a, "Q8_0") == 30 * 2 * (192 // 32 * 34) == 12_240
    # cells are padded to 256
    assert kv_cache_bytes(a, Workload(context_tokens=300)) == 512 * 23_040


def test_shared_blocks_each_have_a_cache_of_their_own() -> None:
    once, twice = model("MobileLLM-125M").architecture, model("MobileLLM-LS-125M").architecture
    assert kv_bytes_per_token(twice, "F16") == 2 * kv_bytes_per_token(once, "F16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cache_type": "Q9_0"}, "unknown cache type 'Q9_0'"),
        ({"context_tokens": 0}, "context_tokens must be a whole number"),
        ({"prompt_tokens": 4000}, "prompt 4000 \\+ generated 128 tokens do not fit in a context of 2048"),
        ({"cache_type": "Q8_0", "flash_attention": False}, "cache_type: Q8_0 needs flash attention"),
    ],
)
def test_refused_workloads(change: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidQuantity, UnknownName), match=message):
        Workload(**change)


def test_a_quantized_cache_needs_heads_of_whole_blocks() -> None:
    odd = replace(model("MobileLLM-125M").architecture, head_dim=40)
    with pytest.raises(
        InvalidQuantity, match="cache_type: Q8_0 needs head_dim to be a multiple of 32, got head_dim 40"
    ):
        kv_bytes_per_token(odd, "Q8_0")


@given(architectures())
def test_the_cache_grows_with_context_and_parts_sum(architecture: Architecture) -> None:
    engine = LlamaCpp()
    stored = engine.store(architecture, "Q8_0")
    small, large = (engine.memory(architecture, stored, Workload(context_tokens=n)) for n in (512, 4096))
    # not the total: ggml's allocator can need fewer bytes for a longer context
    assert large.kv_cache_bytes > small.kv_cache_bytes
    assert large.total_bytes == (
        large.weights_bytes
        + large.kv_cache_bytes
        + large.compute_bytes
        + large.output_bytes
        + large.overhead_bytes
    )
