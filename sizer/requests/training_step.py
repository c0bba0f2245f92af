"""Memory of a training step as an estimate's request asks for it."""

from __future__ import annotations

from typing import Protocol

from sizer.architecture import Architecture, parse_enum
from sizer.errors import InvalidQuantity
from sizer.training import Optimizer, Precision, TrainingMemory, TrainingPlan, training_memory
from sizer.units import parse_tokens
from sizer.workload import Workload

NF4 = ("NF4", "NF4-DQ")


class TrainingFields(Protocol):
    """Fields of a request that are about training, and those that state how the base weights are stored."""

    @property
    def training(self) -> bool | None: ...
    @property
    def lora_rank(self) -> int | None: ...
    @property
    def lora_targets(self) -> str | None: ...
    @property
    def sequence_length(self) -> int | str | None: ...
    @property
    def checkpointing(self) -> bool | None: ...
    @property
    def optimizer(self) -> str | None: ...
    @property
    def precision(self) -> str | None: ...
    @property
    def bits(self) -> float | None: ...
    @property
    def format(self) -> str | None: ...


def training_asked(
    asked: TrainingFields, architecture: Architecture, load: Workload, budget_bytes: int | None
) -> TrainingMemory:
    """Return the memory of a training step of a model; InvalidQuantity for fields that do not agree."""
    rank = asked.lora_rank
    if not asked.training and rank is None:
        keys = ("checkpointing", "lora_targets", "optimizer", "precision", "sequence_length")
        given = [key for key in keys if getattr(asked, key) not in (None, False)]
        raise InvalidQuantity(f"{given[0]}: is about training; give training or lora_rank with it")
    if rank is not None and asked.bits not in (None, 4, 16):
        raise InvalidQuantity(
            f"bits: adapters are trained on 4-bit (NF4) or 16-bit weights, got {asked.bits:g}; "
            "accepted with lora_rank: 4, 16, or --format"
        )
    length = asked.sequence_length
    if isinstance(length, str):
        length = parse_tokens(length, "sequence_length")
    names = (asked.lora_targets or "").split(",")
    plan = TrainingPlan(
        sequence_tokens=load.context_tokens if length is None else length,
        batch_size=load.batch_size,
        precision=parse_enum(Precision, asked.precision or Precision.AMP.value, "precision"),
        optimizer=parse_enum(Optimizer, asked.optimizer or Optimizer.ADAMW.value, "optimizer"),
        checkpointing=bool(asked.checkpointing),
        flash_attention=load.flash_attention,
        lora_rank=rank,
        lora_targets=tuple(name.strip() for name in names if name.strip()),
        quantized=rank is not None and (asked.bits == 4 or (asked.format or "").strip().upper() in NF4),
    )
    return training_memory(architecture, plan, budget_bytes=budget_bytes)
