"""llama.cpp on a card: shares of the devices against its own logs, and sums that no split changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.architecture import Architecture
from sizer.device_share import DeviceShare
from sizer.errors import SizerError
from sizer.memory import MemoryBreakdown, kv_cache_bytes, state_bytes
from sizer.registry import models
from sizer.request import EstimateRequest
from sizer.runtimes import runtime
from sizer.runtimes.llamacpp_devices import layer_cache_bytes
from sizer.workload import Workload

MIB = 2**20
LLAMA_3_8B = Architecture(
    vocab_size=128256,
    num_layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    tie_embeddings=False,
)
TRILM_3_9B = Architecture(
    vocab_size=50688,
    num_layers=30,
    hidden_size=3072,
    intermediate_size=9216,
    num_heads=24,
    num_kv_heads=24,
    head_dim=128,
    tie_embeddings=False,
)
RUNS = [name for name, row in models().items() if not runtime("llama.cpp").why_not_run(row.architecture)]


def memory(architecture: Architecture, format_name: str, workload: Workload) -> MemoryBreakdown:
    """Estimate the memory of llama.cpp."""
    engine = runtime("llama.cpp")
    return engine.memory(architecture, engine.store(architecture, format_name), workload)


def mib(size: int) -> float:
    return round(size / MIB, 2)


def shares(
    architecture: Architecture, format_name: str, workload: Workload
) -> tuple[DeviceShare, DeviceShare]:
    """Return the shares of card and CPU."""
    card, cpu = memory(architecture, format_name, workload).devices
    assert (card.device, cpu.device) == ("gpu", "cpu")
    return card, cpu


@pytest.mark.parametrize("asked", [33, 99])
def test_a_whole_model_on_a_card_as_llama_cpp_logged_it(asked: int) -> None:
    # Llama 3 8B Q4_K_M, -c 512 -ub 512 without flash attention, 33/33 layers on an RTX 3090, a log of 2024:
    # CUDA0 buffer 4403.49, CPU buffer 281.81, KV 64.00, CUDA0 compute 258.50, CUDA_Host compute 9.01 MiB
    workload = Workload(context_tokens=512, flash_attention=False, gpu_layers=asked)
    card, cpu = shares(LLAMA_3_8B, "Q4_K_M", workload)
    assert (mib(card.weights_bytes), mib(cpu.weights_bytes)) == (4403.49, 281.81)
    assert (mib(card.kv_cache_bytes), mib(cpu.kv_cache_bytes)) == (64, 0)
    assert (mib(card.compute_bytes), mib(cpu.compute_bytes)) == (258.5, 9.01)


def test_another_model_on_a_card_as_llama_cpp_logged_it() -> None:
    # TriLM 3.9B in F16 on an RTX 4080 (github mozilla-ai/llamafile#552): CUDA0 buffer 7317.71, CPU buffer
    # 297.00, KV 180.00, CUDA0 compute 105.00 MiB
    card, cpu = shares(TRILM_3_9B, "F16", Workload(context_tokens=512, flash_attention=False, gpu_layers=31))
    assert (mib(card.weights_bytes), mib(cpu.weights_bytes)) == (7317.71, 297)
    assert mib(card.kv_cache_bytes) == 180
    assert mib(card.compute_bytes) == 105


@pytest.mark.parametrize(("asked", "measured"), [(1, 41.64), (2, 41.64), (4, 41.64), (29, 32.09)])
def test_the_range_of_a_compute_buffer_holds_what_newer_builds_reserve(asked: int, measured: float) -> None:
    # Qwen3-0.6B on an MI300X, -c 4096 -ub 512 -fa on, cache q8_0 (github gpustack/gguf-parser-go#45)
    qwen = models()["Qwen3-0.6B"].architecture
    workload = Workload(context_tokens=4096, cache_type="Q8_0", gpu_layers=asked)
    card, _ = shares(qwen, "Q8_0", workload)
    assert mib(card.compute_bytes_low) <= measured <= mib(card.compute_bytes_high)


def test_the_output_is_the_first_slot_on_the_card() -> None:
    card, cpu = shares(LLAMA_3_8B, "Q4_K_M", Workload(gpu_layers=1))
    assert mib(card.weights_bytes) == 410.99  # 128,256 x 4,096 in Q6_K and a norm
    assert card.kv_cache_bytes == 0
    fewer, more = (shares(LLAMA_3_8B, "Q8_0", Workload(gpu_layers=n))[0] for n in (10, 11))
    assert more.kv_cache_bytes - fewer.kv_cache_bytes == 2048 * 2 * 8 * 128 * 2
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    assert more.weights_bytes - fewer.weights_bytes == layer * 34 // 32 + 2 * 4096 * 4
    assert cpu.weights_bytes + card.weights_bytes == memory(LLAMA_3_8B, "Q4_K_M", Workload()).weights_bytes


@given(st.sampled_from(RUNS), st.integers(0, 80), st.sampled_from([512, 4096, 32_768]))
@settings(max_examples=60, deadline=None)
def test_a_split_moves_bytes_and_loses_none(name: str, asked: int, context: int) -> None:
    architecture = models()[name].architecture
    plain = memory(architecture, "Q8_0", Workload(context_tokens=context))
    split = memory(architecture, "Q8_0", Workload(context_tokens=context, gpu_layers=asked))
    assert sum(share.kv_cache_bytes for share in split.devices) == plain.kv_cache_bytes
    assert sum(share.weights_bytes for share in split.devices) == split.weights_bytes
    table = architecture.vocab_size * architecture.embedding_width
    twice = split.weights_bytes - plain.weights_bytes
    assert twice in (0, runtime("llama.cpp").store(architecture, "Q8_0")[0].num_bytes)
    assert twice <= 4 * table
    assert split.total_bytes - split.limited_bytes >= split.devices[1].weights_bytes
    for share in split.devices:
        assert share.compute_bytes_low <= share.compute_bytes <= share.compute_bytes_high


@pytest.mark.parametrize("name", RUNS)
def test_layers_keep_together_what_the_model_keeps(name: str) -> None:
    architecture, engine = models()[name].architecture, runtime("llama.cpp")
    for context in (2048, 32_768):
        workload = Workload(context_tokens=context, batch_size=2)
        whole = kv_cache_bytes(architecture, workload, engine.windowed_layers(architecture))
        kept = layer_cache_bytes(architecture.unrolled(), workload)
        assert sum(kept) == whole + state_bytes(architecture, workload)


def test_a_limit_is_held_against_the_card() -> None:
    asked = EstimateRequest(model="Qwen3-4B", gpu_layers=10, max_memory="1500MB")
    partly = asked.run()
    assert partly.estimate.memory.total_bytes > 1_500_000_000
    assert partly.estimate.fits is True
    assert partly.violations == ()
    longest = partly.estimate.max_context
    assert longest is not None
    assert asked._replace(context=longest.tokens).run().estimate.fits is True
    assert asked._replace(context=longest.tokens + 1).run().estimate.fits is False
    assert asked._replace(gpu_layers=99).run().estimate.fits is False


def test_a_speed_of_both_is_not_made_up() -> None:
    asked = EstimateRequest(model="Llama-3.2-1B", gpu_layers=5, device="macbook-air-m3")
    document = asked.run().to_dict()
    assert document["latency"] is None
    assert document["unsupported"]["latency"].endswith("their speed is not modelled")
    assert "beyond_memory" not in document
    assert asked._replace(gpu_layers=99).run().estimate.latency is not None


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"gpu_layers": -1}, "gpu_layers must be a whole number from 0, got -1"),
        ({"gpu_layers": 2.5}, "gpu_layers must be a whole number"),
        ({"gpu_layers": 4, "runtime": "mlx"}, "gpu_layers: mlx does not split a model"),
    ],
)
def test_what_is_no_number_of_layers(asked: dict[str, object], named: str) -> None:
    with pytest.raises(SizerError, match=named):
        EstimateRequest.from_json({"model": "SmolLM2-135M", **asked}).run()
