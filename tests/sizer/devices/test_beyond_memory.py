"""A model larger than the memory: layers on both sides, or pages from storage, against published rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.architecture import Architecture
from sizer.devices.beyond_memory import BeyondMemory
from sizer.devices.catalogue import device
from sizer.errors import InvalidQuantity
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model
from sizer.workload import Workload


def beyond(
    architecture: Architecture, name: str, format_name: str = "Q4_K_M"
) -> tuple[Estimate, BeyondMemory]:
    load = Workload(context_tokens=4096)
    sized = estimate(architecture=architecture, format=format_name, device=device(name), workload=load)
    assert sized.latency is None
    assert sized.beyond_memory is not None
    return sized, sized.beyond_memory


QWEN3_14B = Architecture(
    name="Qwen3-14B",
    vocab_size=151936,
    num_layers=40,
    hidden_size=5120,
    intermediate_size=17408,
    num_heads=40,
    num_kv_heads=8,
    head_dim=128,
    tie_embeddings=False,
)
PHI_4 = replace(QWEN3_14B, name="phi-4", intermediate_size=17920, num_kv_heads=10, vocab_size=100352)
QWEN25_14B = replace(QWEN3_14B, name="Qwen2.5-14B", num_layers=48, intermediate_size=13824, vocab_size=152064)


@pytest.mark.parametrize(
    ("architecture", "name", "tokens_per_s"),
    [
        # AlexsJones/llmfit#774 and #778: -ngl 32, 32 and 42 on 8 GB, context 4096, Q4_K_M
        (QWEN3_14B, "geforce-rtx-2080", 16.9),
        (PHI_4, "geforce-rtx-2080", 16.7),
        (QWEN25_14B, "geforce-rtx-2080", 20.8),
        # llmfit's community rows: Qwen3-30B-A3B on 12 GB
        (model("Qwen3-30B-A3B").architecture, "geforce-rtx-5070", 25.69),
    ],
)
def test_measured_splits_are_inside_the_range(
    architecture: Architecture, name: str, tokens_per_s: float
) -> None:
    sized, found = beyond(architecture, name)
    assert found.gpu_layers is not None
    assert 0 < found.gpu_layers < architecture.num_layers
    decode = found.decode_tokens_per_s
    assert decode.low <= tokens_per_s <= decode.high
    document = sized.to_dict()
    assert document["latency"] is None
    assert document["beyond_memory"]["decode_tokens_per_s"]["value"] == decode.value


def test_a_small_board_streams() -> None:
    # aidatatools/ollama-benchmark#9: gemma:2b (Q4_0) on a Raspberry Pi 4 of 2 GB decodes 1.84 tokens/s
    _, found = beyond(model("gemma-2b").architecture, "raspberry-pi-4-2gb", "Q4_0")
    assert found.gpu_layers is None
    assert found.how.startswith("streamed: ")
    assert found.decode_tokens_per_s.low <= 1.84 <= found.decode_tokens_per_s.high


def test_an_engine_that_cannot_split_says_nothing() -> None:
    sized = estimate(
        architecture=QWEN3_14B,
        format="bf16",
        runtime="mlx",
        device=device("macbook-air-m3"),
        workload=Workload(cache_type="BF16"),
    )
    assert sized.latency is None
    assert sized.beyond_memory is None
    assert "beyond_memory" not in sized.to_dict()


def test_layers_that_are_asked_for_are_split() -> None:
    load = Workload(context_tokens=4096, gpu_layers=33)
    sized = estimate(
        architecture=QWEN3_14B, format="Q4_K_M", device=device("geforce-rtx-2080"), workload=load
    )
    found = sized.beyond_memory
    assert found is not None
    assert found.gpu_layers == 33
    assert found.how == "split: 32 of 40 layers on the card, the rest on the CPU"
    # AlexsJones/llmfit#774: 16.9 tokens/s with -ngl 32
    assert found.decode_tokens_per_s.value == pytest.approx(16.9, rel=0.1)


@pytest.mark.parametrize(
    ("name", "backend", "said"),
    [
        ("raspberry-pi-5", None, "raspberry-pi-5: llama.cpp has no GPU to run on there; accepted: 0"),
        ("geforce-rtx-2080", "cpu", "llama.cpp runs on its CPU here; accepted: with --backend gpu"),
    ],
)
def test_layers_asked_for_need_a_gpu(name: str, backend: str | None, said: str) -> None:
    shape = model("MobileLLM-125M").architecture
    for asked in (5, 99):
        load = Workload(gpu_layers=asked)
        with pytest.raises(InvalidQuantity, match=f"gpu_layers: {asked} on .*{said}"):
            estimate(architecture=shape, format="Q4_0", device=device(name), backend=backend, workload=load)
    # none is none: its speed is the usual
    usual, none = (
        estimate(
            architecture=shape,
            format="Q4_0",
            device=device(name),
            backend=backend,
            workload=Workload(gpu_layers=n),
        )
        for n in (None, 0)
    )
    assert none.latency == usual.latency


def test_more_layers_than_the_card_holds_have_no_speed() -> None:
    load = Workload(context_tokens=4096, gpu_layers=39)
    sized = estimate(architecture=PHI_4, format="Q5_K_M", device=device("geforce-rtx-2080"), workload=load)
    assert sized.memory.fits is False
    assert sized.latency is None
    assert sized.beyond_memory is None
