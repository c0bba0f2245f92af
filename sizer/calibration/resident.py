"""Resident memory (PSS) of a Linux process that runs llama.cpp on a CPU.

Two things differ from the estimate, which counts llama.cpp's allocations. Some types are repacked while a
model is loaded (ggml/src/ggml-cpu/repack.cpp): the copy comes on top of the mapped file, whose pages the
system may reclaim. And the compute buffer has room for the logits of a whole micro-batch, while a prompt
touches one row.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.formats.stored import StoredTensor
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.runtimes.llamacpp_buffer import touched_compute_bytes
from sizer.tensors import Access
from sizer.workload import Workload

# ggml_repack_get_optimal_repack_type (llama.cpp as in llama-cpp-python 0.3.36): x86 with AVX2, and ARM with
# dot products; all want a number of rows that eight divides. (AVX-512 adds Q2_K.)
_REPACKED_X86 = frozenset({"Q4_0", "Q4_K", "IQ4_NL"})
_REPACKED_ARM = frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL"})
_ROWS = 8


def repacked_bytes(stored: Sequence[StoredTensor], machine: str | None = None) -> int:
    """Return the bytes of the repacked copies of matrices that llama.cpp keeps on such a processor."""
    arm = (machine or platform.machine()).lower() in ("arm64", "aarch64")
    types = _REPACKED_ARM if arm else _REPACKED_X86
    return sum(
        t.num_bytes
        for t in stored
        if t.type.name in types and t.spec.access is Access.MATMUL and t.spec.shape[0] % _ROWS == 0
    )


def resident_bytes(architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload) -> int:
    """Return the resident bytes after the workload's prompt, pages of the mapped file included."""
    memory = LlamaCpp().memory(architecture, stored, workload)
    held = memory.total_bytes - memory.compute_bytes
    return held + touched_compute_bytes(architecture, workload) + repacked_bytes(stored)
