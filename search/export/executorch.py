"""A trained model as an ExecuTorch file, by ExecuTorch's own export in a separate process.

A .pte file has no place for promises: they lie next to it, in a JSON file of its name. Rows of query and key
are in pairs of rotated elements, as in GGUF; equal tensors, those of a shared block, are stored once.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from math import log
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search.export.finalist import TrainedFinalist
from search.export.gguf_file import in_pairs
from search.export.huggingface import unrolled_weights
from search.export.layout import check_layout
from search.export.outcome import (
    Exported,
    Target,
    check_ours,
    checked_card,
    complete_or_absent,
    context_note,
    context_of,
    exported,
    identity_of,
    score_check,
)
from search.text.corpus import ValidationChunks
from search.training.decoder import NORM_EPSILON
from sizer.architecture import Architecture
from sizer.atomic_write import write_text
from sizer.calibration.executorch_bench import WORKER, require_executorch
from sizer.calibration.executorch_models import export_request
from sizer.calibration.worker import answer_in_process
from sizer.errors import InvalidFile, UnknownName
from sizer.families.hf_config import config_from_architecture
from sizer.formats import executorch
from sizer.readers.regular_file import open_regular
from sizer.runtimes import runtime

SCHEMA = "sizer.executorch-export/1"
ENGINE = "executorch"
# Tokens of a prompt that are read at a time; the longest prompt of a file.
CHUNK_TOKENS = 128
_MAX_PROMISES_BYTES = 2**20

# Names of ExecuTorch's Llama (examples/models/llama) by those of Hugging Face, within a block and outside.
_IN_BLOCK = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OUTSIDE = {"model.embed_tokens": "tok_embeddings", "model.norm": "norm", "lm_head": "output"}


def export_executorch(
    finalist: TrainedFinalist, path: Path, *, context_tokens: int | None = None
) -> Exported:
    """Write a .pte file in the finalist's format, its promises and its card; whole or not at all.

    Minutes: about 17 s of a processor for each executed layer. A file that an earlier export of the same
    model made is replaced; any other raises InvalidFile.
    """
    f, context = finalist, context_of(finalist, context_tokens)
    check_layout(f.architecture, windows=False, convolutions=False)
    require_executorch("export")
    if f.runtime != ENGINE:
        raise UnknownName(f"format: {f.format} is a format of {f.runtime}; accepted here: ExecuTorch's")
    engine, identity, promised = runtime(ENGINE), identity_of(f), promises_path(path)
    for there in (path, promised):
        if there.exists():
            check_ours(_identity_at(promised), identity, there)
    stored = engine.store(f.architecture, f.format)
    predicted = executorch.file_bytes(f.architecture, stored, context).total
    card, text = checked_card(f, path, context_tokens=context, file_bytes=predicted)
    chunk = min(CHUNK_TOKENS, context)
    with complete_or_absent(path, promised):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".executorch.") as name:
            folder = Path(name).resolve()
            weights, made = folder / "checkpoint.pth", folder / "model.pte"
            torch.save(executorch_weights(f.architecture, f.weights), weights)
            request = export_request(
                f.architecture,
                f.format,
                made,
                context_tokens=context,
                chunk_tokens=chunk,
                norm_eps=NORM_EPSILON,
                weights=weights,
            )
            answer_in_process(path, request, script=WORKER, what="export: ExecuTorch")
            promises = _promises(f, identity, context_tokens=context, chunk=chunk, file_bytes=predicted)
            write_text(promised, json.dumps(promises, indent=1) + "\n")
            made.replace(path)
        write_text(card, text)
    notes = [score_check(f)]
    if f.architecture.sharing.repeat > 1:
        notes.append(
            f"{f.architecture.num_layers} blocks are stored for {f.architecture.executed_layers} runs"
        )
    return exported(
        f,
        path,
        Target.EXECUTORCH,
        file_bytes=path.stat().st_size,
        predicted_bytes=predicted,
        checks=(*notes, context_note(f, context)),
    )


def executorch_weights(architecture: Architecture, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under ExecuTorch's names, a shared block once for each run, the head apart."""
    a = architecture
    heads = {"self_attn.q_proj": a.num_heads, "self_attn.k_proj": a.num_kv_heads}
    found = {}
    for name, tensor in unrolled_weights(a, weights).items():
        part = name.removesuffix(".weight")
        values = tensor.float().contiguous()
        if part.startswith("model.layers."):
            _, _, layer, inside = part.split(".", 3)
            if inside in heads:
                values = torch.from_numpy(in_pairs(values.numpy(), heads[inside]).copy())
            found[f"layers.{layer}.{_IN_BLOCK[inside]}.weight"] = values
        else:
            found[f"{_OUTSIDE[part]}.weight"] = values
    found.setdefault("output.weight", found["tok_embeddings.weight"])
    return found


def promises_path(path: Path) -> Path:
    """Return where the promises of a .pte file are: a JSON file of its name next to it."""
    return path.with_suffix(".json")


def read_promises(path: Path) -> dict[str, Any]:
    """Return the promises of a .pte file; InvalidFile where there are none next to it."""
    there, accepted = promises_path(path), "a .pte file that sizer exported, with its JSON file next to it"
    with open_regular(there, accepted, "promises") as (stream, size):
        data = stream.read(min(size, _MAX_PROMISES_BYTES))
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise InvalidFile(f"promises: {str(there)!r} is no file of an export; accepted: {accepted}")
    return found


def validation_bits_per_byte(path: Path, chunks: ValidationChunks, *, threads: int = 1) -> float:
    """Return bits per byte of all chunks together, decoded token by token by ExecuTorch."""
    require_executorch("verify")
    with tempfile.TemporaryDirectory(prefix="sizer-verify-") as name:
        windows = Path(name) / "windows.json"
        windows.write_text(json.dumps(chunks.windows.tolist()), encoding="utf-8")
        request = {
            "action": "score",
            "model": str(path.resolve()),
            "windows": str(windows),
            "threads": threads,
        }
        answer = answer_in_process(path, request, script=WORKER, what="verify: ExecuTorch")
    nats = -sum(
        logarithm
        for line, sizes in zip(answer["answers"], chunks.scored_bytes.tolist(), strict=True)
        for logarithm, size in zip(line, sizes, strict=True)
        if size > 0
    )
    return float(nats / log(2) / int(chunks.num_bytes.sum()))


def _promises(
    f: TrainedFinalist, identity: Mapping[str, Any], *, context_tokens: int, chunk: int, file_bytes: int
) -> dict[str, Any]:
    config = f.result.config
    assert config is not None
    return {
        "schema": SCHEMA,
        **identity,
        "sizer.format": f.format,
        "sizer.corpus": config.training.corpus,
        "sizer.tokenizer": config.tokenizer_of(f.architecture.vocab_size).value,
        "sizer.vocab_size": f.architecture.vocab_size,
        "sizer.seq_len": config.training.seq_len,
        "sizer.val_chunks": config.training.val_chunks,
        "sizer.val_bits_per_byte": f.deployed_bits_per_byte,
        "sizer.file_bytes": file_bytes,
        "name": f.architecture.name,
        "config": config_from_architecture(f.architecture),
        "context_tokens": context_tokens,
        "chunk_tokens": chunk,
    }


def _identity_at(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
