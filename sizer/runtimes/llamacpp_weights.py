"""How llama.cpp holds weights: pages of the mapped file, one buffer, or repacked for a CPU's instructions.

A matrix is repacked where ggml_repack_get_optimal_repack_type (ggml/src/ggml-cpu/repack.cpp, the build in
llama-cpp-python 0.3.36) has a kernel for its type and number of rows; the copy lies in memory of the process.
The embedding is looked up in the file: a tied table is repacked next to it for the head, so it is held twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sizer.formats.stored import StoredTensor, stored_groups, sum_bytes
from sizer.tensors import Access, Role
from sizer.units import format_bytes

# Rows must be a multiple of this. Arm: with dot products, and with i8mm (other kernels, the same sizes).
_REPACKED_ROWS: Mapping[str, Mapping[str, int]] = {
    "repacked-avx2": {"Q4_0": 8, "Q4_K": 8, "IQ4_NL": 8},
    "repacked-avx512": {"Q4_0": 8, "Q4_K": 8, "IQ4_NL": 8, "Q2_K": 8},
    "repacked-arm": {"Q4_0": 4, "Q8_0": 4, "IQ4_NL": 4, "Q4_K": 8, "Q5_K": 8, "Q6_K": 8},
}


def repacked_bytes(stored: Sequence[StoredTensor], how: str) -> int:
    """Return the bytes of the CPU_REPACK buffer: copies of the matrices that have a kernel on such a CPU."""
    rows = _REPACKED_ROWS.get(how, {})
    groups = stored_groups(stored)
    return sum(tensor.num_bytes * len(layers) for tensor, layers in groups if _is_repacked(tensor, rows))


def weights_bytes(stored: Sequence[StoredTensor], how: str) -> int:
    """Return bytes of weights that are read while running, without pages of repacked matrices."""
    rows = _REPACKED_ROWS.get(how)
    if rows is None:
        return sum_bytes(stored)
    tables = (tensor for tensor, _ in stored_groups(stored) if tensor.spec.role is Role.TOKEN_EMBEDDING)
    return sum_bytes(stored) + sum(table.num_bytes for table in tables if _is_repacked(table, rows))


def weights_note(stored: Sequence[StoredTensor], how: str) -> str:
    """Return what the system can do with the weights in memory."""
    if how == "loaded":
        return "weights are read into memory of the process (--no-mmap), which the system cannot drop"
    if how == "mapped":
        return "weights are memory-mapped and counted as held; the system can drop and re-read their pages"
    num_bytes = repacked_bytes(stored, how)
    return (
        f"{format_bytes(num_bytes)} of the weights are repacked into memory of the process, which the system "
        "cannot drop; the mapped pages they were copied from, as many bytes again, are read once while "
        "loading and not counted"
    )


def _is_repacked(tensor: StoredTensor, rows: Mapping[str, int]) -> bool:
    spec = tensor.spec
    multiple = rows.get(tensor.type.name)
    return multiple is not None and spec.access is Access.MATMUL and spec.shape[0] % multiple == 0
