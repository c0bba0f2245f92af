"""The functions of `import sizer`: they take what the commands take, and return their answers as objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from sizer.architecture import Architecture
from sizer.budget import Limits
from sizer.comparison import Comparison
from sizer.comparison import compare as compare_architectures
from sizer.devices.catalogue import device as device_named
from sizer.devices.catalogue import devices_named
from sizer.errors import InvalidQuantity, UnknownName
from sizer.model_estimate import Estimate
from sizer.request import EstimateRequest
from sizer.requests.batch_line import check_types
from sizer.runtimes import runtime as runtime_named
from sizer.units import parse_bytes
from sizer.workload import Workload

Model = str | Path | Architecture | Mapping[str, Any]

# Options of `sizer estimate` whose answer is no part of the estimate itself: those of a training step first.
_TRAINING = ("training", "lora_rank", "lora_targets", "sequence_length", "checkpointing", "optimizer")
_NOT_OF_AN_ESTIMATE = (*_TRAINING, "precision", "min_decode", "tokens", "corpus", "anchor")


class EstimateOptions(TypedDict, total=False):
    """Options of `sizer estimate`, in the names of `EstimateRequest`."""

    params: str | None
    any_width: bool
    num_layers: int | None
    hidden_size: int | None
    intermediate_size: int | None
    num_heads: int | None
    num_kv_heads: int | None
    head_dim: int | None
    vocab_size: int | None
    tie_embeddings: bool | None
    mlp: str | None
    sharing: str | None
    repeat: int | None
    ends: int | None
    bits: float | None
    format: str | None
    runtime: str | None
    device: str | None
    ram: str | None
    backend: str | None
    max_memory: str | int | None
    context: int | None
    prompt: int | None
    generate: int | None
    batch_size: int | None
    cache_type: str | None
    ubatch: int | None
    flash_attention: bool | None
    weights_in_memory: str | None
    gpu_layers: int | None
    draft: str | None
    mmproj: str | None
    sparsity: float | None
    sparsity_pattern: str | None


def estimate(model: Model | None = None, **options: Unpack[EstimateOptions]) -> Estimate:
    """Estimate parameters, file and memory bytes, speed and energy of a model, as `sizer estimate` does.

    `model` is a catalogue name, a file or folder, `hf:org/name`, an `Architecture` or the keys of a
    config.json; without it, `params` ("125M") or the fields of a shape describe one that need not exist.
    Options are those of the command (`EstimateOptions`). A part that cannot be worked out is None, and
    `unsupported` has the reason. Raises SizerError with the command's line. A training step's memory and the
    expected quality are no part of an Estimate: `sizer.EstimateRequest(...).run()` has them.

    Examples:
        >>> estimate("MobileLLM-125M", bits=4).parameters.total
        124635456
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name in _NOT_OF_AN_ESTIMATE:
            raise InvalidQuantity(
                f"{name}: its answer is no part of an Estimate; accepted by EstimateRequest(...).run()"
            )
        if name not in EstimateOptions.__annotations__:
            raise UnknownName.of("argument", name, EstimateOptions.__annotations__)
    check_types(given)
    return EstimateRequest(**_source(model), **given).run().estimate


def _source(model: Model | None) -> dict[str, Any]:
    match model:
        case None:
            return {}
        case Architecture():
            return {"architecture": model}
        case Mapping():
            return {"config": model}
        case str() | Path():
            return {"model": str(model)}
        case _:
            raise InvalidQuantity(
                f"model: must be a name, a path, an Architecture or config keys, got {type(model).__name__}"
            )


def compare(
    models: Sequence[str | Path],
    devices: Sequence[str] = (),
    *,
    bits: float | None = None,
    format: str | None = None,
    runtime: str = "llama.cpp",
    context: int = 2048,
) -> Comparison:
    """Estimate every model on every device, as `sizer compare` does; `Comparison.rows[model][device]`.

    `devices` are names or sets of devices ("mid-range"). Raises SizerError with the command's line.
    """
    from sizer.readers import read_model

    format_name, _ = EstimateRequest(runtime=runtime, bits=bits, format=format).chosen_format()
    return compare_architectures(
        [read_model(str(model)) for model in models],
        [device for name in devices for device in devices_named(name)],
        format=format_name,
        runtime=runtime,
        context_tokens=context,
    )


def solve(
    *,
    device: str | None = None,
    max_size: str | int | None = None,
    max_memory: str | int | None = None,
    min_decode: float | None = None,
    bits: float | None = None,
    format: str | None = None,
    runtime: str = "llama.cpp",
    context: int = 2048,
    vocab_size: int = 32000,
    tie_embeddings: bool = True,
    top: int = 10,
) -> tuple[Estimate, ...]:
    """Find the architectures that fill a budget, most parameters first, as `sizer solve` does.

    Sizes are text ("60MB") or bytes, `min_decode` tokens per second. Raises SizerError with the command's
    line: NoFit where nothing is within the budget.
    """
    from sizer.shapes.within_budget import fill

    format_name, _ = EstimateRequest(runtime=runtime, bits=bits, format=format).chosen_format()
    budget = Limits(
        max_size_bytes=_bytes(max_size, "max_size"),
        max_memory_bytes=_bytes(max_memory, "max_memory"),
        min_decode_tokens_per_s=min_decode,
    )
    return fill(
        budget,
        format=format_name,
        runtime=runtime,
        device=device_named(device) if device is not None else None,
        workload=Workload.within(context, runtime_named(runtime).cache_types[0]),
        vocab_size=vocab_size,
        tie_embeddings=tie_embeddings,
    )[:top]


def _bytes(size: str | int | None, name: str) -> int | None:
    return parse_bytes(size, name) if isinstance(size, str) else size
