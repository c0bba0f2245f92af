"""MLX on Apple silicon, as mlx-lm runs it: unified memory, a cache that grows in steps of 256 tokens."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.formats import mlx, safetensors
from sizer.formats.stored import FileBytes, StoredTensor
from sizer.memory import MemoryBreakdown
from sizer.runtimes.recipes import (
    RecipeRuntime,
    block_activation_bytes,
    cache_bytes,
    sharing_note,
    sum_bytes,
)
from sizer.workload import Workload

# mlx-lm 0.32: models/cache.py KVCache.step, generate.py generate_step(prefill_step_size)
_CACHE_STEP = 256
_PREFILL_TOKENS = 2048


class Mlx(RecipeRuntime):
    """mlx-lm: safetensors files read into unified memory."""

    name = "mlx"
    recipes = mlx.RECIPES
    customary = {32.0: "fp32", 16.0: "bf16", **{float(b): f"{b}bit" for b in (2, 3, 4, 5, 6, 8)}}
    cache_types = ("BF16", "F16", "F32")

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Bytes of model.safetensors; MLX does not pad the header."""
        return safetensors.file_bytes(stored, "mlx", multiple=1)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Bytes MLX allocates: weights, cache, one chunk of the prompt, logits with their logarithms."""
        chunk = workload.batch_size * min(workload.prompt_tokens, _PREFILL_TOKENS)
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=sum_bytes(stored),
            kv_cache_bytes=cache_bytes(architecture, workload, step=_CACHE_STEP),
            compute_bytes=block_activation_bytes(architecture, chunk, 2),
            output_bytes=2 * 2 * workload.batch_size * architecture.vocab_size,
            overhead_bytes=0,
        )

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Notes on what was modelled."""
        return (
            "memory is what MLX allocates (mx.get_active_memory), without the Python process around it",
            f"prompts are read in chunks of {_PREFILL_TOKENS:,} tokens; attention is taken as fused, which "
            "MLX does for the usual head widths on the GPU; the compute part is an estimate from shapes",
            *sharing_note(architecture, self.name),
        )
