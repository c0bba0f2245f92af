"""Runtimes beside llama.cpp: memory against what their makers state, limits, sharing, errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.architecture import LayerSharing, SharingStrategy
from sizer.errors import InvalidArchitecture, UnknownName
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.workload import Workload

SMOL = model("SmolLM2-135M").architecture


def _sized(
    name: str, format: str, context: int = 4096, cache: str = "F16", engine: str = "web-llm"
) -> Estimate:
    return estimate(
        architecture=model(name).architecture,
        format=format,
        runtime=engine,
        workload=Workload(context_tokens=context, cache_type=cache),
    )


@pytest.mark.parametrize("name", RUNTIME_NAMES)
def test_every_runtime_estimates_and_says_what_it_assumes(name: str) -> None:
    engine = runtime(name)
    architecture = model("bitnet-b1.58-2B-4T").architecture if name == "bitnet.cpp" else SMOL
    sized = estimate(architecture=architecture, format=engine.formats[0], runtime=name)
    assert sized.memory.total_bytes > sized.memory.weights_bytes > 0
    assert sized.memory.kv_cache_bytes > 0
    assert len(sized.assumptions) >= 3
    document = sized.to_dict()
    assert document["weights"]["runtime"] == name
    assert sum(document["weights"]["bytes_by_type"].values()) == document["weights"]["tensor_bytes"]


@pytest.mark.parametrize("name", ["executorch", "mlx", "transformers", "transformers.js", "web-llm"])
def test_shared_blocks_are_stored_once_but_cached_for_each_run(name: str) -> None:
    engine = runtime(name)
    shared = replace(SMOL, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2))
    once = estimate(architecture=SMOL, format=engine.formats[0], runtime=name)
    twice = estimate(architecture=shared, format=engine.formats[0], runtime=name)
    assert twice.file.tensor_bytes == once.file.tensor_bytes
    assert twice.memory.kv_cache_bytes == 2 * once.memory.kv_cache_bytes
    assert any("shared blocks are stored once" in note for note in twice.assumptions)


def test_bitnet_cpp_unrolls_shared_blocks_like_llama_cpp() -> None:
    shared = replace(SMOL, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2))
    assert runtime("bitnet.cpp").as_stored(shared).num_layers == 2 * SMOL.num_layers


def test_a_browser_heap_ends_at_4_gib() -> None:
    small, large = (
        _sized("SmolLM2-135M", "q4", engine="transformers.js", cache="F32"),
        _sized("SmolLM2-1.7B", "fp32", engine="transformers.js", cache="F32"),
    )
    assert (small.memory.budget_bytes, small.memory.fits) == (2**32, True)
    assert large.memory.fits is False


def test_a_tensor_beyond_webgpu_limits_is_named() -> None:
    notes = " ".join(_sized("Qwen3-0.6B", "q0f32", cache="F32").assumptions)
    assert "model.embed_tokens.weight takes 593.5 MiB, more than the 256 MiB buffer" in notes
    assert "more than" not in " ".join(_sized("SmolLM2-135M", "q4f16_1").assumptions)


def test_mlx_caches_grow_by_256_tokens() -> None:
    short = _sized("SmolLM2-135M", "4bit", 257, "BF16", "mlx").memory.kv_cache_bytes
    assert short == 512 * 2 * 30 * 3 * 64 * 2


def test_a_cache_type_the_engine_lacks_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown mlx cache type 'Q8_0'; .*known: BF16, F16, F32"):
        _sized("SmolLM2-135M", "4bit", 2048, "Q8_0", "mlx")


def test_ways_to_hold_weights_that_only_llama_cpp_has_are_refused() -> None:
    with pytest.raises(UnknownName, match="unknown weights_in_memory of mlx 'loaded'; .*known: mapped"):
        estimate(
            architecture=SMOL,
            format="4bit",
            runtime="mlx",
            workload=Workload(cache_type="BF16", weights_in_memory="loaded"),
        )


def test_unknown_runtimes_list_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="unknown runtime 'mlxx'; did you mean mlx"):
        runtime("mlxx")


def test_bitnet_cpp_refuses_what_llama_cpp_cannot_hold() -> None:
    with pytest.raises(InvalidArchitecture, match="bitnet.cpp runs no model .*learned positions"):
        runtime("bitnet.cpp").store(model("opt-1.3b").architecture, "I2_S")
