"""LiteRT-LM on a CPU: .litertlm files, a static cache of the context that the file is made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sizer.architecture import Architecture, PositionKind
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.formats import litert
from sizer.formats.stored import FileBytes, StoredTensor, sum_bytes
from sizer.memory import MemoryBreakdown, PeakBytes
from sizer.runtimes.recipes import (
    RecipeRuntime,
    block_activation_bytes,
    cache_bytes,
    sharing_note,
)
from sizer.shape_words import in_words
from sizer.workload import Workload

if TYPE_CHECKING:
    from sizer.devices.device import Device

# The longest prompt that an export has a signature for; longer ones are read in parts.
_PREFILL_TOKENS = 1024
# The compressed package litert-lm-api 0.18.1, which is its library liblitert-lm.so (131.8 MB unpacked).
_LIBRARY_BYTES = 47_051_755

_FLOAT_BYTES = {"F32": 4, "F16": 2}

# Fitted to the most memory that 18 processes on phones took (tests/data/litert_peaks.csv): the process and
# its libraries, and the factors between which 80 % of those rows are. XNNPACK packs copies of some weights,
# which are not counted, and keeps them in a file that is mapped where it can.
_PROCESS_BYTES = 150_000_000
_LOW_FACTOR, _HIGH_FACTOR = 0.78, 1.5


class LiteRtLm(RecipeRuntime):
    """LiteRT-LM (and MediaPipe's LLM tasks before it) on XNNPACK."""

    name = "litert-lm"
    backends = ("cpu", "opencl", "metal", "webgpu")
    recipes = litert.RECIPES
    customary = {32.0: "fp32", 16.0: "fp16", 8.0: "dynamic_int8", 4.0: "dynamic_int4_block32"}
    cache_types = ("F32", "F16")

    def download_bytes(self, *, in_browser: bool) -> int | None:
        """Return the bytes of the library as an app's package has it."""
        return _LIBRARY_BYTES

    def store(self, architecture: Architecture, format_name: str) -> Sequence[StoredTensor]:
        """Return every tensor of the file; refuse kinds of models that are not exported for it."""
        a = architecture
        kinds = {
            f"position {a.position.value}": a.position is not PositionKind.ROPE,
            "experts": bool(a.num_experts),
            "latent attention": a.latent_attention is not None,
            "recurrent layers": bool(a.recurrent),
        }
        if unknown := [kind for kind, is_there in kinds.items() if is_there]:
            raise InvalidArchitecture(
                f"model: {self.name} runs no model of this kind that was looked at (it has "
                f"{in_words(unknown)})"
            )
        return super().store(architecture, format_name)

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Return the bytes of the .litertlm file, tokenizer included."""
        return litert.file_bytes(architecture, stored)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Return bytes held: the mapped file, two buffers for the cache, one chunk of the prompt."""
        if workload.batch_size != 1:
            raise InvalidQuantity(f"batch_size: LiteRT-LM runs one sequence, got {workload.batch_size}")
        a, float_bytes = architecture, _FLOAT_BYTES[workload.cache_type]
        chunk = min(workload.prompt_tokens, _PREFILL_TOKENS)
        scores = chunk * workload.context_tokens * a.num_heads * float_bytes
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=sum_bytes(stored),
            # a step reads one buffer and writes the other, then they change places
            kv_cache_bytes=2 * cache_bytes(a, workload),
            compute_bytes=block_activation_bytes(a, chunk, float_bytes) + scores,
            output_bytes=float_bytes * a.vocab_size,
            overhead_bytes=_PROCESS_BYTES,
        )

    def peak(
        self,
        architecture: Architecture,
        stored: Sequence[StoredTensor],
        workload: Workload,
        device: Device | None,
    ) -> PeakBytes:
        """Return what is held, with the range in which processes were seen."""
        held = self.memory(architecture, stored, workload).total_bytes
        return PeakBytes(held, round(_LOW_FACTOR * held), round(_HIGH_FACTOR * held))

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return the notes on the static cache and on what was modelled."""
        return (
            "the cache has the size that the file is made for (ekv in its name), here the context asked for; "
            "it is held twice, as each step writes a second buffer",
            "the file has weights, scales of each row for every signature, and the tokenizer; published "
            "files are within 3 %",
            "memory is that of a CPU and an estimate: processes took 0.8 to 1.5 times as much; on a GPU the "
            "process holds less and the GPU's buffers come on top",
            *sharing_note(architecture, self.name),
        )
