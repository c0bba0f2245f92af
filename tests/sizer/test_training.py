"""Training memory: worked by hand, sums of parts, adapters' sizes, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.registry import model, models
from sizer.tensors import Access, Role, TensorSpec, count_parameters, tensor_specs
from sizer.training import (
    Optimizer,
    Precision,
    TrainingMemory,
    TrainingPlan,
    follows,
    nf4_bytes,
    training_memory,
)
from tests.strategies import any_architectures, architectures

M125 = model("MobileLLM-125M").architecture
SMOL = model("SmolLM2-135M").architecture


def test_weights_gradients_and_adam_are_sixteen_bytes_a_weight() -> None:
    # ZeRO (arXiv 1910.02054, section 3.1): 2 + 2 + 12 bytes; torch counts 4 bytes of steps for each tensor
    count, tensors = count_parameters(tensor_specs(M125)).total, len(tensor_specs(M125))
    for precision, parts in {
        Precision.BF16_MASTER: (2, 4, 2, 8),
        Precision.AMP: (4, 0, 4, 8),
        Precision.FP32: (4, 0, 4, 8),
        Precision.BF16: (2, 0, 2, 4),
    }.items():
        found = training_memory(M125, TrainingPlan(precision=precision))
        assert found.trainable_parameters == count == 124_635_456
        assert found.weights_bytes == parts[0] * count
        assert found.master_weights_bytes == parts[1] * count
        assert found.gradients_bytes == parts[2] * count
        assert found.optimizer_bytes == parts[3] * count + 4 * tensors
        assert found.adapters_bytes == 0


def test_a_block_worked_by_hand() -> None:
    # SmolLM2-135M in float32, 1,000 tokens: width 576, key-value width 192, MLP 1,536
    tokens, d, kv, ff = 1000, 576, 192, 1536
    norms = 2 * (3 * tokens * d + tokens)  # of each: input, reciprocal roots, scaled input, result
    attention = tokens * (2 * d + 2 * kv + 9)  # query, key, value, result, log-sum-exp of 9 heads
    mlp = 4 * tokens * ff  # gate, activation, up, product
    outside = 2 * 1000 * 64 + 3 * tokens * d + tokens + 2 * tokens  # rotary, last norm, 8-byte token ids
    plan = TrainingPlan(precision=Precision.FP32, sequence_tokens=tokens)
    found = training_memory(SMOL, plan)
    assert found.activations_bytes == 4 * (30 * (norms + attention + mlp) + outside)
    # 49,152 logits of 1,000 tokens: as they are, their log-probabilities, two gradients of four bytes
    assert found.logits_bytes == 2 * 4 * 49_152 * 1000 + 8 * 1001 + 4
    assert found.working_bytes == 2 * 4 * 49_152 * 1000
    recomputed = training_memory(SMOL, replace(plan, checkpointing=True))
    assert recomputed.activations_bytes == 4 * (30 * tokens * d + outside)


def test_adapters_worked_by_hand() -> None:
    # rank 8 on query (576 to 576) and value (576 to 192) of 30 layers
    found = training_memory(SMOL, TrainingPlan(lora_rank=8))
    assert found.trainable_parameters == 30 * 8 * (576 + 576 + 576 + 192) == 460_800
    assert found.adapted == ("q_proj", "v_proj")
    assert found.adapters_bytes == found.gradients_bytes == 4 * 460_800
    assert found.optimizer_bytes == 8 * 460_800 + 4 * 120
    assert found.weights_bytes == 2 * 134_515_008


def test_nf4_worked_by_hand() -> None:
    # 300 x 216, as bitsandbytes 0.50.2 stores it: 32,400 bytes, 1,013 scales, 4 scales of these, their mean
    spec = TensorSpec(name="x.weight", shape=(300, 216), role=Role.UP, layer=0, access=Access.MATMUL)
    assert nf4_bytes(spec) == 32_400 + 1013 + 4 * 4 + 4
    blocks = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    found = training_memory(SMOL, TrainingPlan(lora_rank=8, quantized=True))
    rest = 2 * (134_515_008 - blocks)
    assert found.weights_bytes - rest == pytest.approx(blocks * 4.127 / 8, rel=0.0002)
    given = TrainingPlan(lora_rank=8, quantized=True)
    assert training_memory(SMOL, given, quantized_bytes=lambda spec: 0).weights_bytes == rest


def test_eight_bit_moments_worked_by_hand() -> None:
    # bitsandbytes 0.50.2 AdamW8bit: from 4,096 weights on a byte and a float for 256, two tables for all
    a = Architecture(
        vocab_size=100,
        num_layers=1,
        hidden_size=96,
        intermediate_size=160,
        num_heads=3,
        num_kv_heads=3,
        head_dim=32,
    )
    found = training_memory(a, TrainingPlan(optimizer=Optimizer.ADAMW_8BIT, precision=Precision.FP32))
    matrices = [100 * 96, *[96 * 96] * 4, *[96 * 160] * 3]
    moments = sum(n + 4 * -(-n // 256) for n in matrices) + 3 * 4 * 96
    assert found.optimizer_bytes == 2 * moments + 2 * 256 * 4
    assert training_memory(a, TrainingPlan(optimizer=Optimizer.SGD)).optimizer_bytes == 0


@st.composite
def plans(draw: st.DrawFn) -> TrainingPlan:
    """A valid plan of any kind."""
    rank = draw(st.none() | st.integers(1, 64))
    quantized = rank is not None and draw(st.booleans())
    refused = {Precision.BF16_MASTER} if rank is not None else set()
    refused |= {Precision.FP32} if quantized else set()
    return TrainingPlan(
        sequence_tokens=draw(st.integers(1, 4096)),
        batch_size=draw(st.integers(1, 16)),
        precision=draw(st.sampled_from([p for p in Precision if p not in refused])),
        optimizer=draw(st.sampled_from(Optimizer)),
        checkpointing=draw(st.booleans()),
        flash_attention=draw(st.booleans()),
        lora_rank=rank,
        lora_targets=draw(st.sampled_from([(), ("attention",), ("all-linear",)])) if rank else (),
        quantized=quantized,
    )


@settings(max_examples=60)
@given(any_architectures(), plans())
def test_parts_are_sizes_and_sum_to_the_total(architecture: Architecture, plan: TrainingPlan) -> None:
    found = training_memory(architecture, plan)
    document: dict[str, Any] = found.to_dict()
    parts = {name: size for name, size in document.items() if name.endswith("_bytes")}
    assert all(size is None or size >= 0 for size in parts.values())
    assert found.total_bytes == sum(
        size for name, size in parts.items() if name not in ("total_bytes", "budget_bytes")
    )
    approximate = any("approximate" in note for note in found.assumptions)
    assert approximate is not follows(architecture)


@settings(max_examples=60)
@given(architectures(max_layers=6), plans())
def test_checkpointing_never_keeps_more_and_more_tokens_never_less(
    architecture: Architecture, plan: TrainingPlan
) -> None:
    kept, recomputed = (
        training_memory(architecture, replace(plan, checkpointing=value)) for value in (False, True)
    )
    assert recomputed.weights_bytes == kept.weights_bytes
    if plan.lora_rank is None:
        assert recomputed.activations_bytes <= kept.activations_bytes
        if architecture.executed_layers > 1:  # the one block would be there as well as its input
            assert recomputed.total_bytes <= kept.total_bytes
    longer = replace(plan, sequence_tokens=plan.sequence_tokens + 1)
    assert training_memory(architecture, longer).total_bytes > training_memory(architecture, plan).total_bytes


@given(architectures(max_layers=4), st.integers(1, 64))
def test_adapters_have_a_row_and_a_column_for_each_of_the_rank(architecture: Architecture, rank: int) -> None:
    specs = [s for s in tensor_specs(architecture) if s.layer is not None and len(s.shape) == 2]
    for target, roles in {
        "all-linear": set(Role),
        "attention": {Role.QUERY, Role.KEY, Role.VALUE, Role.ATTENTION_OUTPUT},
        "q_proj": {Role.QUERY},
    }.items():
        found = training_memory(architecture, TrainingPlan(lora_rank=rank, lora_targets=(target,)))
        assert found.trainable_parameters == sum(rank * sum(s.shape) for s in specs if s.role in roles)


def test_every_catalogue_model_has_a_training_step() -> None:
    for row in models().values():
        for plan in (TrainingPlan(), TrainingPlan(lora_rank=8, quantized=True)):
            found = training_memory(row.architecture, plan)
            assert isinstance(found, TrainingMemory)
            assert found.trainable_parameters > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora_rank": 0}, "lora_rank: must be a whole number from 1 to 65536, got 0"),
        ({"sequence_tokens": True}, "sequence_tokens: must be a whole number from 1 to 2147483648, got True"),
        ({"quantized": True}, "lora_rank: missing; 4-bit base weights are for training adapters only"),
        ({"lora_targets": ("q_proj",)}, "lora_rank: missing; lora_targets is for training adapters only"),
        (
            {"lora_rank": 8, "lora_targets": ("c_attn",)},
            "lora_targets: no matrix 'c_attn'; accepted: attention, all-linear, q_proj, k_proj, v_proj,",
        ),
        ({"lora_rank": 8, "precision": Precision.BF16_MASTER}, "precision: bf16-master is for training all"),
        (
            {"lora_rank": 8, "quantized": True, "precision": Precision.FP32},
            "precision: fp32 does not go with",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidQuantity) as caught:
        training_memory(SMOL, TrainingPlan(**values))
    assert str(caught.value).startswith(message)
