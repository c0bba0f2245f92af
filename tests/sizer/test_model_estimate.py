"""estimate(): the JSON contract, sums of parts, devices, shared blocks on llama.cpp."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given

from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.devices.catalogue import device
from sizer.errors import InvalidQuantity, UnknownName
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.request import EstimateRequest
from sizer.runtimes import runtime
from sizer.workload import Workload
from tests.strategies import architectures

M125 = model("MobileLLM-125M").architecture

# Keys of the contract (schema sizer.estimate/1); more may be added, none may go.
CONTRACT = {
    "architecture": "name num_layers executed_layers hidden_size intermediate_size num_heads num_kv_heads "
    "head_dim vocab_size tie_embeddings sharing",
    "parameters": "total active embedding attention mlp norm head non_embedding",
    "weights": "format runtime tensor_bytes file_bytes bits_per_weight bytes_by_type",
    "memory": "context weights_bytes kv_cache_bytes compute_bytes output_bytes overhead_bytes total_bytes "
    "budget_bytes fits",
    "latency": "load_s prefill_tokens_per_s time_to_first_token_s decode_tokens_per_s",
}


def test_the_json_has_the_contracts_keys_and_survives_json() -> None:
    document = estimate(architecture=M125, format="Q4_K_M", device=device("raspberry-pi-5")).to_dict()
    assert document["schema"] == "sizer.estimate/1"
    for part, keys in CONTRACT.items():
        assert set(keys.split()) <= set(document[part]), part
    for figure in (*document["latency"].values(), document["energy"]["joules_per_token"]):
        assert set(figure) == {"value", "low", "high", "basis"}
        assert figure["low"] <= figure["value"] <= figure["high"]
        assert figure["basis"] in ("measured", "fitted", "specification")
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_without_a_device_speed_energy_and_budget_are_null() -> None:
    document = estimate(architecture=M125, format="Q4_K_M").to_dict()
    assert set(document["latency"].values()) == {None}
    assert document["energy"] is document["memory"]["budget_bytes"] is document["memory"]["fits"] is None


def test_mobilellm_125m_in_q4_k_m_is_six_bits_per_weight_not_four() -> None:
    # what llama-quantize made of this shape: 93,171,456 bytes of tensors (oracle_llama_quantize.jsonl)
    found = estimate(architecture=M125, format="q4_k_m")
    assert found.file.tensor_bytes == 93_171_456
    assert found.bits_per_weight == pytest.approx(5.98, abs=0.005)


def test_llama_cpp_stores_shared_blocks_as_often_as_they_run() -> None:
    shared = replace(M125, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2))
    one, two = (estimate(architecture=a, format="Q8_0") for a in (M125, shared))
    assert one.parameters.total == two.parameters.total
    blocks = one.file.tensor_bytes - (32000 * 576 // 32 * 34) - 576 * 4
    assert two.file.tensor_bytes == one.file.tensor_bytes + blocks
    assert any("60 blocks in the file for 30 trained ones" in note for note in two.assumptions)


def test_a_model_too_large_for_a_phone_does_not_fit() -> None:
    found = estimate(
        architecture=model("Llama-2-7B").architecture, format="F16", device=device("iphone-15-pro")
    )
    assert found.memory.fits is False
    assert estimate(architecture=M125, format="F16", device=device("iphone-15-pro")).memory.fits is True


def test_the_callers_notes_come_first() -> None:
    assert estimate(architecture=M125, format="F16", assumptions=("mine",)).assumptions[0] == "mine"


@given(architectures(max_layers=6))
def test_parts_sum_to_totals(architecture: Architecture) -> None:
    found = estimate(architecture=architecture, format="Q4_K_M").to_dict()
    p, w, m = found["parameters"], found["weights"], found["memory"]
    assert p["total"] == sum(p[k] for k in ("embedding", "attention", "mlp", "norm", "head"))
    assert p["total"] == p["embedding"] + p["head"] + p["non_embedding"]
    assert w["tensor_bytes"] == sum(w["bytes_by_type"].values()) == m["weights_bytes"]
    assert w["file_bytes_low"] <= w["file_bytes"] <= w["file_bytes_high"]
    assert m["total_bytes"] == sum(
        m[f"{part}_bytes"] for part in ("weights", "kv_cache", "compute", "output", "overhead")
    )


@pytest.mark.parametrize(
    ("bits", "name"),
    [(4, "Q4_K_M"), (8, "Q8_0"), (16, "F16"), (1.58, "TQ1_0"), (3, "Q3_K_M"), (2, "Q2_K"), (5, "Q5_K_M")],
)
def test_bits_mean_the_customary_format(bits: float, name: str) -> None:
    assert runtime("LLAMA.CPP").format_for_bits(bits) == name


def test_unknown_bits_and_runtimes_list_what_is_accepted() -> None:
    with pytest.raises(
        InvalidQuantity, match=r"bits: .* for 7 bits; accepted: 1.58, 2, 3, 4, 5, 6, 8, 16, 32"
    ):
        runtime("llama.cpp").format_for_bits(7)
    with pytest.raises(UnknownName, match=r"unknown runtime 'web-lm'; did you mean web-llm.*known: bitnet"):
        runtime("web-lm")


def test_a_longer_context_costs_memory_and_not_file() -> None:
    short, long = (
        estimate(architecture=M125, format="Q4_0", workload=Workload(context_tokens=n)) for n in (512, 8192)
    )
    assert long.memory.total_bytes > short.memory.total_bytes
    assert long.file == short.file


def test_a_context_beyond_the_models_positions_is_noted() -> None:
    note = "the context is longer than the 40,960 positions that the model is made for"
    for tokens, noted in ((40_960, False), (40_961, True)):
        estimate = EstimateRequest(model="Qwen3-4B", context=tokens).run().estimate
        assert (note in estimate.assumptions) is noted
