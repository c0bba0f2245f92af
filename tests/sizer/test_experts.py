"""Mixtures of experts: published counts, active weights, work of a step, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.devices.profile import Profile
from sizer.devices.speed_model import model_costs, prefill_seconds
from sizer.errors import InvalidArchitecture
from sizer.families.hf_config import architecture_from_config, config_from_architecture
from sizer.prediction import Basis
from sizer.registry import models
from sizer.runtimes.llamacpp_graph import knows
from sizer.tensors import Role, count_parameters, tensor_specs
from sizer.workload import Workload
from tests.sizer.test_architecture import SMALL

MIXED = replace(SMALL, num_experts=6, num_experts_per_tok=2)


def _counts(name: str) -> tuple[int, int]:
    counts = count_parameters(tensor_specs(models()[name].architecture))
    return counts.total, counts.active


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("OLMoE-1B-7B-0924", 6.9e9, 1.3e9),  # arXiv 2409.02060: "7B", "1B"; cards say 1.3B
        ("Mixtral-8x7B-v0.1", 46.7e9, 12.9e9),  # arXiv 2401.04088: "47B", "13B"; Mistral's announcement
        ("Qwen1.5-MoE-A2.7B", 14.3e9, 2.7e9),  # its name, and the count of its card
        ("Qwen3-30B-A3B", 30.5e9, 3.3e9),  # keras-hub qwen3_moe_presets.py: "30.5", "3.3"
    ],
)
def test_total_and_active_are_what_is_published(name: str, total: float, active: float) -> None:
    found = _counts(name)
    assert found[0] == pytest.approx(total, rel=0.02)
    assert found[1] == pytest.approx(active, rel=0.08)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    # "1.3B" and "400M", "3.3B" and "800M": tables of the models' cards (ibm-granite on the Hub)
    [("granite-3.1-1b-a400m", 1.3e9, 0.4e9), ("granite-3.0-3b-a800m", 3.3e9, 0.8e9)],
)
def test_granites_active_weights_leave_out_the_embedding(name: str, total: float, active: float) -> None:
    counts = count_parameters(tensor_specs(models()[name].architecture))
    assert round(counts.total, -8) == total
    assert round(counts.active - counts.embedding, -8) == active


def test_olmoe_worked_by_hand() -> None:
    expert = 3 * 2048 * 1024
    block = 4 * 2048**2 + 4 * 2048 + 64 * 2048  # attention, four norms, router
    outside = 2 * 50304 * 2048 + 2048
    total, active = _counts("OLMoE-1B-7B-0924")
    assert total == 16 * (block + 64 * expert) + outside == 6_919_161_856
    assert active == 16 * (block + 8 * expert) + outside


def test_mixtral_computes_as_many_weights_as_published() -> None:
    total, active = _counts("Mixtral-8x7B-v0.1")
    assert total - active == 32 * 6 * 3 * 4096 * 14336
    assert active == 12_879_925_248


def test_a_model_without_experts_uses_all_its_weights() -> None:
    counts = count_parameters(tensor_specs(SMALL))
    assert counts.active == counts.total


# a device that only reads
UNBOUND = Profile(
    runtime="llama.cpp",
    backend="cpu",
    basis=Basis.FITTED,
    seconds_fixed=0,
    seconds_per_layer=0,
    bytes_per_s=1e6,
    bits_low=1,
    bits_high=32,
    decode_factor=1,
    ops_per_s=1e30,
)


def _costs(architecture: Architecture) -> Any:
    return model_costs(
        architecture, [(spec, 2 * spec.num_elements, "F16") for spec in tensor_specs(architecture)]
    )


def test_a_step_reads_and_a_token_computes_the_chosen_experts() -> None:
    mixed, dense = _costs(MIXED), _costs(replace(SMALL, intermediate_size=2 * SMALL.intermediate_size))
    router = SMALL.num_layers * 6 * SMALL.hidden_size
    assert mixed.step_bytes == dense.step_bytes + 2 * router
    assert mixed.block_weights == dense.block_weights + router
    assert mixed.bits_per_weight == pytest.approx(16, rel=0.01)
    # two experts of one's width send and get each row; a dense block twice as wide has the narrow side once
    narrow = SMALL.num_layers * 3 * SMALL.hidden_size
    router_rows = SMALL.num_layers * (6 + SMALL.hidden_size)
    assert mixed.activation_elements == dense.activation_elements + narrow + router_rows


def test_a_prompts_batch_reads_all_experts() -> None:
    mixed = _costs(MIXED)
    unused = 4 * 3 * SMALL.hidden_size * SMALL.intermediate_size * SMALL.num_layers
    assert mixed.unchosen_bytes == pytest.approx(2 * unused)
    assert _costs(SMALL).unchosen_bytes == 0
    workload = Workload(prompt_tokens=512, ubatch_tokens=512)
    read_s = prefill_seconds(mixed, workload, UNBOUND)
    assert read_s == pytest.approx((mixed.step_bytes + 2 * unused) / 1e6)


def test_shared_blocks_read_their_chosen_experts_again() -> None:
    sharing = LayerSharing(strategy=SharingStrategy.REPEAT_ALL, repeat=3)
    once, thrice = _costs(MIXED), _costs(replace(MIXED, sharing=sharing))
    blocks = [s for s in tensor_specs(MIXED) if s.layer is not None]
    assert thrice.block_weights == 3 * once.block_weights
    assert thrice.step_bytes - once.step_bytes == 2 * 2 * sum(s.active_elements for s in blocks)
    unused = sum(s.num_elements - s.active_elements for s in blocks)
    assert thrice.unchosen_bytes == pytest.approx(3 * 2 * unused)


@given(st.integers(1, 8), st.data())
def test_all_experts_used_is_no_saving(experts: int, data: st.DataObject) -> None:
    used = data.draw(st.integers(1, experts))
    architecture = replace(SMALL, num_experts=experts, num_experts_per_tok=used)
    counts = count_parameters(tensor_specs(architecture))
    expert = 3 * SMALL.hidden_size * SMALL.intermediate_size * SMALL.num_layers
    assert counts.total - counts.active == (experts - used) * expert


def test_dense_layers_keep_one_wide_block() -> None:
    config = {
        "model_type": "qwen3_moe",
        "hidden_size": 64,
        "intermediate_size": 8192,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "mlp_only_layers": [4],
        "decoder_sparse_step": 2,
    }
    a = architecture_from_config(config)
    assert a.dense_layers == (0, 2, 4)
    roles = {spec.layer for spec in tensor_specs(a) if spec.role is Role.DOWN_EXPERTS}
    assert roles == {1, 3}
    assert (a.expert_width, a.active_mlp_width) == (768, 8192)
    assert replace(a, dense_layers=()).active_mlp_width == 8 * 768


@pytest.mark.parametrize(
    ("config", "field"),
    [({"mlp_only_layers": [0, 1]}, "mlp_only_layers"), ({"num_experts": 0}, "num_experts")],
    ids=str,
)
def test_a_config_whose_layers_all_are_dense_has_no_experts(config: dict[str, Any], field: str) -> None:
    a = architecture_from_config({"model_type": "qwen3_moe", "num_hidden_layers": 2, **config})
    assert a.num_experts == 0, field
    assert a.beyond_llama == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_experts_per_tok": 7}, r"num_experts_per_tok must be a whole number from 1 to 6 .*, got 7"),
        ({"num_experts_per_tok": 0}, "num_experts_per_tok must be a whole number from 1 to 6"),
        ({"num_experts": 0}, "num_experts: 0, but there is num_experts_per_tok"),
        ({"num_experts": -1}, "num_experts must be a whole number from 0"),
        ({"sub_norms": True}, "num_experts: 6 experts are not supported with sub_norms"),
        ({"shared_mlp": True}, "num_experts: 6 experts are not supported with shared_mlp"),
        ({"dense_layers": (3,)}, r"dense_layers must be layers from 0 to 2, got \[3\]"),
    ],
)
def test_refused_shapes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        replace(MIXED, **change)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "llama", "num_local_experts": 8}, "num_local_experts: not supported for model_type"),
        ({"model_type": "qwen3_moe", "n_routed_experts": 8}, "n_routed_experts: not supported"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": "all"}, "mlp_only_layers: expected a list of layers"),
        ({"model_type": "qwen3_moe", "decoder_sparse_step": 0}, "decoder_sparse_step: expected 1 to"),
        ({"model_type": "olmoe", "num_experts_per_tok": 65}, "num_experts_per_tok must be .* from 1 to 64"),
        ({"model_type": "mixtral", "hidden_act": "relu"}, "hidden_act: unknown value 'relu'"),
    ],
)
def test_refused_configs_name_the_key(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        architecture_from_config(config)


def test_what_is_written_for_llama_refuses_experts() -> None:
    assert MIXED.beyond_llama == ("num_experts", "num_experts_per_tok")
    assert not knows(MIXED)
    shared = replace(MIXED, shared_expert_intermediate_size=64)
    with pytest.raises(InvalidArchitecture, match="can express shared_expert_intermediate_size"):
        config_from_architecture(shared)


def test_experts_in_every_layer_are_mixtrals_config() -> None:
    config = config_from_architecture(MIXED)
    assert config["model_type"] == "mixtral"
    assert config["num_local_experts"] == MIXED.num_experts
    assert architecture_from_config(config) == MIXED
    with pytest.raises(InvalidArchitecture, match="can express num_experts"):
        config_from_architecture(replace(MIXED, qk_norm=True))
