"""Bench models for ExecuTorch: few and shallow, as its export takes many seconds for each layer.

The time of an export hardly depends on widths, so the models differ in width: one is almost only overhead,
one has more thin layers, two have many bytes (more than processors cache), one is nearly all head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sizer.architecture import Architecture
from sizer.calibration.bench_models import PREFIX, bench_shape
from sizer.calibration.samples import timed_model
from sizer.calibration.timings import TimingTask
from sizer.formats import executorch
from sizer.formats.stored import StoredTensor
from sizer.runtimes.executorch import ExecuTorch
from sizer.workload import Workload

# The usual 4-bit format of ExecuTorch.
FORMAT = "8da4w-g32-e8"

PROMPT_TOKENS = 128
GENERATED_TOKENS = 64
CONTEXT_TOKENS = 256
REPEATS = 5
_NORM_EPS = 1e-5

# Seconds of an export besides its layers, counted in layers: 13 s and 17 s a layer of processor time on two
# cores of a busy AMD EPYC machine, and 8 s to start.
_EXPORT_BASE = 1.25


class ExecuTorchModel(NamedTuple):
    """A shape to export in the usual 4-bit format."""

    architecture: Architecture

    @property
    def name(self) -> str:
        """Such as "deep-8da4w-g32-e8"."""
        return f"{self.architecture.name}-{FORMAT}"

    @property
    def file_name(self) -> str:
        """Such as "sizer-bench-deep-8da4w-g32-e8.pte"."""
        return f"{PREFIX}-{self.name}.pte"

    @property
    def export_size(self) -> float:
        """Return how long its export takes, in layers."""
        return self.architecture.num_layers + _EXPORT_BASE

    def store(self) -> Sequence[StoredTensor]:
        """Return every tensor of the file."""
        return ExecuTorch().store(self.architecture, FORMAT)

    def task(self, folder: Path) -> TimingTask:
        """Return the task that times its file in a folder."""
        stored = self.store()
        model = timed_model(
            self.architecture.name, self.architecture, stored, file_bytes=self.file_bytes, cache_type="F32"
        )
        return TimingTask(folder / self.file_name, model, PROMPT_TOKENS, GENERATED_TOKENS, REPEATS)

    @property
    def file_bytes(self) -> int:
        """Return the calculated bytes of its file."""
        return executorch.file_bytes(self.architecture, self.store(), workload().context_tokens).total

    @property
    def checkpoint_bytes(self) -> int:
        """Return the bytes of the float weights its export starts from."""
        return 4 * sum(tensor.spec.num_elements for tensor in self.store())

    def export_request(self, folder: Path) -> dict[str, Any]:
        """Return the request to the worker that writes its file to a folder."""
        load = workload()
        return export_request(
            self.architecture,
            FORMAT,
            folder / self.file_name,
            context_tokens=load.context_tokens,
            chunk_tokens=load.ubatch_tokens,
            norm_eps=_NORM_EPS,
        )


def export_request(
    a: Architecture,
    format_name: str,
    path: Path,
    *,
    context_tokens: int,
    chunk_tokens: int,
    norm_eps: float,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Return the request to the worker that writes a file; a shared block once for each of its runs.

    `weights` is a checkpoint of ExecuTorch's own names, None for random ones.
    """
    return {
        "action": "export",
        "model": str(path),
        "params": {
            "dim": a.hidden_size,
            "hidden_dim": a.intermediate_size,
            "n_layers": a.executed_layers,
            "n_heads": a.num_heads,
            "n_kv_heads": a.num_kv_heads,
            "head_dim": a.head_dim,
            "vocab_size": a.vocab_size,
            "norm_eps": norm_eps,
        },
        "weights": None if weights is None else str(weights),
        "chunk_tokens": chunk_tokens,
        "context_tokens": context_tokens,
        **executorch.export_options(format_name),
    }


def workload() -> Workload:
    """Return the workload of exports and timings: the chunk holds the prompt and one more token."""
    return Workload(
        context_tokens=CONTEXT_TOKENS,
        prompt_tokens=PROMPT_TOKENS,
        generated_tokens=GENERATED_TOKENS,
        ubatch_tokens=PROMPT_TOKENS + 1,
        cache_type="F32",
    )


def executorch_models() -> Sequence[ExecuTorchModel]:
    """Return the models a device is fitted to, the most informative first."""
    return tuple(
        ExecuTorchModel(shape)
        for shape in (
            bench_shape("deep", layers=4, width=256, mlp=768, kv_heads=2, vocab=2048),
            bench_shape("wide", layers=2, width=2048, mlp=5632, kv_heads=4, vocab=8192),
            bench_shape("tiny", layers=1, width=256, mlp=768, kv_heads=2, vocab=2048),
            bench_shape("middle", layers=3, width=768, mlp=2048, kv_heads=4, vocab=16384),
            bench_shape("head", layers=1, width=768, mlp=2048, kv_heads=4, vocab=49152),
        )
    )
