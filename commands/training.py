"""Training options of `sizer estimate` and of a batch line: from text to the memory of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sizer.architecture import parse_enum
from sizer.errors import InvalidQuantity
from sizer.runtimes import runtime
from sizer.training import Optimizer, Precision, TrainingMemory, TrainingPlan, training_memory

if TYPE_CHECKING:
    from sizer.estimate import Estimate

NF4 = ("NF4", "NF4-DQ")

_ADAPTER_BITS = (None, 4.0, 16.0)


def _is_nf4(format_name: str | None) -> bool:
    return (format_name or "").strip().upper() in NF4


def training_is_asked(given: Mapping[str, Any]) -> bool:
    """Whether training options were given; InvalidQuantity where they lack what they belong to."""
    asked = {key: value for key, value in given.items() if value is not None}
    if asked.get("training") or "lora_rank" in asked:
        return True
    if details := sorted(key for key in asked if key != "training"):
        raise InvalidQuantity(f"{details[0]}: says how to train; give training or lora_rank with it")
    return False


def deployed_format(runtime_name: str, format_name: str | None) -> str | None:
    """The format asked for; None for NF4 where the runtime has none: it is how adapters are trained."""
    if not _is_nf4(format_name):
        return format_name
    known = {name.upper() for name in runtime(runtime_name).formats}
    return format_name if (format_name or "").strip().upper() in known else None


def training_of(
    result: Estimate, given: Mapping[str, Any], *, bits: float | None, format_name: str | None
) -> TrainingMemory:
    """Memory of a training step of the estimated model, with the options or the batch line's keys given."""
    for key, kind in (("training", bool), ("checkpointing", bool), *((k, str) for k in _TEXTS)):
        value = given.get(key)
        if value is not None and not isinstance(value, kind):
            accepted = "true or false" if kind is bool else "text"
            raise InvalidQuantity(f"{key}: must be {accepted}, got {value!r}")
    rank = given.get("lora_rank")
    names = [name.strip() for name in (given.get("lora_targets") or "").split(",")]
    nf4 = bits == 4 or _is_nf4(format_name)
    if rank is not None and bits not in _ADAPTER_BITS:
        raise InvalidQuantity(
            f"bits: adapters are trained on 4-bit (NF4) or 16-bit weights, got {bits:g}; accepted with "
            "lora_rank: 4, 16, or --format"
        )
    sequence = given.get("sequence_length")
    plan = TrainingPlan(
        sequence_tokens=result.workload.context_tokens if sequence is None else sequence,
        batch_size=result.workload.batch_size,
        precision=parse_enum(Precision, given.get("precision") or Precision.AMP.value, "precision"),
        optimizer=parse_enum(Optimizer, given.get("optimizer") or Optimizer.ADAMW.value, "optimizer"),
        checkpointing=bool(given.get("checkpointing")),
        flash_attention=result.workload.flash_attention,
        lora_rank=rank,
        lora_targets=tuple(name for name in names if name),
        quantized=rank is not None and nf4,
    )
    budget = result.memory.budget_bytes
    return training_memory(result.architecture, plan, budget_bytes=budget)


_TEXTS = ("lora_targets", "optimizer", "precision")
