"""MLX on Apple silicon, as mlx-lm runs it: unified memory, a cache that grows in steps of 256 tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sizer.architecture import Architecture
from sizer.formats import mlx, safetensors
from sizer.formats.stored import FileBytes, StoredTensor, sum_bytes
from sizer.memory import (
    MemoryBreakdown,
    PeakBytes,
    expanded_bytes_per_token,
    kv_bytes_per_token,
    kv_row_bytes,
)
from sizer.runtimes.mlx_peak import CACHE_STEP, peak_bytes
from sizer.runtimes.recipes import (
    RecipeRuntime,
    block_activation_bytes,
    cache_bytes,
    sharing_note,
    sliding_runs,
)
from sizer.workload import Workload

if TYPE_CHECKING:
    from sizer.devices.device import Device

# mlx-lm 0.32: generate.py generate_step(prefill_step_size)
_PREFILL_TOKENS = 2048

# Families whose make_cache in mlx-lm keeps sliding layers in a RotatingKVCache of the window (mlx-lm at
# d78bf58e, mlx_lm/models/). All others cache the whole context in every layer: Gemma 2, Qwen and Mistral too.
_ROTATING = frozenset(
    (
        *("gemma3_text", "gemma3", "gemma3n", "gemma3n_text", "gemma4", "gemma4_text", "gemma4_unified"),
        *("cohere2", "exaone4", "exaone_moe", "gpt_oss", "olmo3", "ministral3", "llama4_text", "afmoe"),
        *("mellum", "mimo_v2_flash", "step3p5", "laguna", "recurrent_gemma", "baichuan_m1"),
    )
)


def _expands_latent(a: Architecture) -> bool:
    """Return True for DeepSeek-V2's and MiniCPM3's models; deepseek_v3.py caches the latent row."""
    return a.latent_attention is not None and not a.routing_bias


class Mlx(RecipeRuntime):
    """mlx-lm: safetensors files read into unified memory."""

    name = "mlx"
    backends = ("metal",)
    kinds_not_run = ("shared_transformer",)  # nor Zamba2
    runs_any_positions = False  # mlx_lm/models (0.32.2) has neither OPT, GPT-neo nor BLOOM
    recipes = mlx.RECIPES
    customary = {32.0: "fp32", 16.0: "bf16", **{float(b): f"{b}bit" for b in (2, 3, 4, 5, 6, 8)}}
    cache_types = ("BF16", "F16", "F32")

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Return the bytes of model.safetensors; MLX does not pad the header."""
        return safetensors.file_bytes(stored, "mlx", multiple=1)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Return bytes MLX allocates: weights, cache, one prompt chunk, logits with their logarithms."""
        chunk = workload.batch_size * min(workload.prompt_tokens, _PREFILL_TOKENS)
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=sum_bytes(stored),
            kv_cache_bytes=cache_bytes(
                architecture,
                workload,
                step=CACHE_STEP,
                windowed_layers=self.windowed_layers(architecture),
                expands_latent=_expands_latent(architecture),
            ),
            compute_bytes=block_activation_bytes(architecture, chunk, 2),
            output_bytes=2 * 2 * workload.batch_size * architecture.vocab_size,
            overhead_bytes=0,
        )

    def peak(
        self,
        architecture: Architecture,
        stored: Sequence[StoredTensor],
        workload: Workload,
        device: Device | None,
    ) -> PeakBytes:
        """Return the most bytes of the process: with the pool of buffers that MLX keeps."""
        per_token = expanded_bytes_per_token if _expands_latent(architecture) else kv_bytes_per_token
        cell_bytes = per_token(architecture, workload.cache_type)
        row_bytes = kv_row_bytes(architecture, workload.cache_type)
        windowed_bytes = 2 * row_bytes * self.windowed_layers(architecture)
        return peak_bytes(architecture, stored, workload, cell_bytes, windowed_bytes, device)

    def windowed_layers(self, architecture: Architecture) -> int:
        """Return the runs of sliding layers if the family's cache rotates; a shape of no family's does."""
        rotates = architecture.model_type is None or architecture.model_type in _ROTATING
        return sliding_runs(architecture) if rotates else 0

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return the notes on what was modelled."""
        return (
            "memory is what MLX allocates (mx.get_active_memory), without the process around it; the peak is "
            "that of the process, with buffers that MLX keeps for later use: apps on mlx-swift come near it; "
            "mlx-lm empties them after each chunk and prints a peak near the low end",
            *self._window_notes(architecture),
            f"prompts are read in chunks of {_PREFILL_TOKENS:,} tokens; attention is taken as fused, which "
            "MLX does for the usual head widths on the GPU; the compute part is an estimate from shapes",
            *sharing_note(architecture, self.name),
        )

    def _window_notes(self, architecture: Architecture) -> tuple[str, ...]:
        if not architecture.sliding_layers or self.windowed_layers(architecture):
            return ()
        return ("mlx-lm caches the whole context in this family's sliding layers too",)
