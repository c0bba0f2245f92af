"""Bench models for ExecuTorch: few and shallow, as its export takes many seconds for each layer.

The time of an export hardly depends on widths, so costs are told apart by width: one model is almost nothing
but calls, one has more thin layers, two have many bytes (more than processors cache), one is nearly all head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sizer.architecture import Architecture
from sizer.formats import executorch
from sizer.formats.stored import StoredTensor
from sizer.measure.bench_models import PREFIX, bench_shape
from sizer.measure.speed_fit import model_work
from sizer.measure.timings import Task
from sizer.runtimes.executorch import ExecuTorch
from sizer.workload import Workload

# What ExecuTorch's users mean by 4 bits, and how its export is asked for it.
FORMAT = "8da4w-g32-e8"
EXPORT_OPTIONS = {"qmode": "8da4w", "group_size": 32, "embedding_quantize": "8,0"}

PROMPT_TOKENS = 128
GENERATED_TOKENS = 64
CONTEXT_TOKENS = 256
REPEATS = 5

# Seconds of an export besides its layers, counted in layers: 13 s and 17 s a layer of processor time on two
# cores of a busy AMD EPYC machine, and 8 s to start.
_EXPORT_BASE = 1.25


class ExecuTorchModel(NamedTuple):
    """A shape to export in the customary 4-bit format."""

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
        """How long its export takes, in layers."""
        return self.architecture.num_layers + _EXPORT_BASE

    def store(self) -> tuple[StoredTensor, ...]:
        """Every tensor of the file."""
        return ExecuTorch().store(self.architecture, FORMAT)

    def task(self, folder: Path) -> Task:
        """The task that times its file in a folder."""
        stored = self.store()
        work = model_work(
            self.architecture.name, self.architecture, stored, file_bytes=self.file_bytes, cache_type="F32"
        )
        return Task(folder / self.file_name, work, PROMPT_TOKENS, GENERATED_TOKENS, REPEATS)

    @property
    def file_bytes(self) -> int:
        """Bytes of its file as the calculator says."""
        return executorch.file_bytes(self.architecture, self.store(), workload().context_tokens).total

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of the float weights its export starts from."""
        return 4 * sum(tensor.spec.num_elements for tensor in self.store())

    def export_request(self, folder: Path) -> dict[str, Any]:
        """What the worker is asked for to write its file to a folder."""
        a, load = self.architecture, workload()
        params = {
            "dim": a.hidden_size,
            "hidden_dim": a.intermediate_size,
            "n_layers": a.num_layers,
            "n_heads": a.num_heads,
            "n_kv_heads": a.num_kv_heads,
            "head_dim": a.head_dim,
            "vocab_size": a.vocab_size,
            "norm_eps": 1e-5,
        }
        return {
            "action": "export",
            "model": str(folder / self.file_name),
            "params": params,
            "chunk_tokens": load.ubatch_tokens,
            "context_tokens": load.context_tokens,
            **EXPORT_OPTIONS,
        }


def workload() -> Workload:
    """What the models are exported for and timed with: the chunk holds the prompt and one token more."""
    return Workload(
        context_tokens=CONTEXT_TOKENS,
        prompt_tokens=PROMPT_TOKENS,
        generated_tokens=GENERATED_TOKENS,
        ubatch_tokens=PROMPT_TOKENS + 1,
        cache_type="F32",
    )


def executorch_models() -> Sequence[ExecuTorchModel]:
    """The models a device is fitted from, those first that say most."""
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
