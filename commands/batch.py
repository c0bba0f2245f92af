"""`sizer estimate --batch`: one JSON object a line in, one estimate a line out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from commands.console import notice
from commands.sizing import chosen_pruning, chosen_training, chosen_workload, trained_format
from sizer.architecture import Architecture
from sizer.device import device
from sizer.errors import InvalidFile, InvalidQuantity, SizerError
from sizer.estimate import Estimate, estimate
from sizer.hf_config import architecture_from_config, sharing_from_config
from sizer.readers import read_model


def run_batch(source: str) -> int:
    """Estimates for JSON lines, in order; 2 if any line was bad."""
    if source == "-":
        failed = _batch_lines(sys.stdin)
    else:
        try:
            with Path(source).open(encoding="utf-8") as stream:
                failed = _batch_lines(stream)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise InvalidFile(f"batch: cannot read {source!r}: {reason}; accepted: a file or -") from None
    if failed:
        notice(f"error: {failed} bad line(s) in {source}")
    return 2 if failed else 0


def _batch_lines(lines: Iterable[str]) -> int:
    """Print the estimate of every line; the number of lines that were bad."""
    failed = 0
    document: dict[str, Any]
    for line in lines:
        if not line.strip():
            continue
        try:
            document = _batch_line(line)
        except SizerError as error:
            document, failed = {"error": str(error)}, failed + 1
        # flushed: the reader at the other end of a pipe may wait for each answer
        print(json.dumps(document, allow_nan=False), flush=True)
    return failed


# Keys of a batch line that become the workload, beside "context".
_WORKLOAD_KEYS = {
    "context": "context_tokens",
    "prompt": "prompt_tokens",
    "generate": "generated_tokens",
    "batch_size": "batch_size",
    "ubatch": "ubatch_tokens",
    "flash_attention": "flash_attention",
    "weights_in_memory": "weights_in_memory",
}
_TEXT_KEYS = ("runtime", "format", "device", "cache_type")
_TRAINING_KEYS = (
    "training",
    "lora_rank",
    "lora_targets",
    "sequence_length",
    "checkpointing",
    "optimizer",
    "precision",
)
_PRUNING_KEYS = ("sparsity", "sparsity_pattern")
_BATCH_KEYS = sorted(
    {
        *("config", "model", "bits", "sharing"),
        *(*_TEXT_KEYS, *_WORKLOAD_KEYS, *_TRAINING_KEYS, *_PRUNING_KEYS),
    }
)


def _batch_line(line: str) -> dict[str, Any]:
    """The estimate that a line asks for, as plain JSON values."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidFile("line: not JSON; accepted: one JSON object a line") from None
    if not isinstance(request, Mapping):
        raise InvalidFile(f"line: not a JSON object; accepted: one with {', '.join(_BATCH_KEYS)}")
    if unknown := sorted(set(request) - set(_BATCH_KEYS)):
        raise InvalidFile(f"{unknown[0]}: unknown key; accepted: {', '.join(_BATCH_KEYS)}")
    if isinstance(request.get("config"), Mapping):
        architecture = architecture_from_config(request["config"])
    elif isinstance(request.get("model"), str):
        architecture = read_model(request["model"])
    else:
        raise InvalidFile("config: missing; accepted: an object of config.json keys, or a model's name")
    if request.get("sharing") is not None:
        architecture = replace(architecture, sharing=sharing_from_config(request["sharing"]))
    texts = {key: request.get(key) for key in _TEXT_KEYS}
    for key, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise InvalidQuantity(f"{key}: must be text, got {value!r}")
    bits = request.get("bits")
    if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int | float)):
        raise InvalidQuantity(f"bits: must be a number, got {bits!r}")
    runtime_name = texts["runtime"] or "llama.cpp"
    train = {key: request.get(key) for key in _TRAINING_KEYS}
    format_name, notes = trained_format(runtime_name, bits, texts["format"], train)
    given = {field: request[key] for key, field in _WORKLOAD_KEYS.items() if request.get(key) is not None}
    workload = chosen_workload(given, texts["cache_type"], runtime_name)
    known_device = device(texts["device"]) if texts["device"] is not None else None

    def sized(shape: Architecture) -> Estimate:
        return estimate(
            architecture=shape,
            format=format_name,
            runtime=runtime_name,
            workload=workload,
            device=known_device,
            assumptions=notes,
        )

    pruning = (request.get(key) for key in _PRUNING_KEYS)
    result, extras = chosen_pruning(sized, architecture, *pruning)
    trained = chosen_training(result, train, bits, texts["format"])
    if trained is not None:
        extras["training"] = trained.to_dict()
    return result.to_dict() | extras
