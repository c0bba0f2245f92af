"""Pruning: what fewer heads, zeros anywhere or two zeros of four really save under a format and a runtime.

Structured pruning makes another, smaller architecture and saves what that saves. Zeros inside a matrix are
stored like any other weight by every format here, so they save nothing in file, memory or speed; only NVIDIA
GPUs since Ampere multiply 2:4 matrices in a form that leaves the zeros out. Sources: SparseGPT (arXiv
2301.00774: the matrices of the blocks are pruned, tables and norms are not), Mishra et al. (arXiv 2104.08378:
2:4 keeps half of the values and two bits of position for each).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum, unique
from typing import Any

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.estimate import Estimate
from sizer.formats.groups import Plain
from sizer.tensors import Access, Group, TensorSpec, tensor_specs
from sizer.units import format_bytes

_MLP_MULTIPLE = 32  # the smallest block of the usual formats
_POSITION_BITS = 2


@unique
class Pattern(StrEnum):
    """Which weights are pruned: whole heads and MLP columns, any, or two in every four."""

    STRUCTURED = "structured"
    UNSTRUCTURED = "unstructured"
    TWO_OF_FOUR = "2:4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """What pruning does to a model: weights that are zero, and bytes saved in the file and in memory."""

    pattern: Pattern
    fraction: float
    zero_weights: int
    nonzero_weights: int
    file_bytes_saved: int
    memory_bytes_saved: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Fields as plain JSON values."""
        return {**asdict(self), "pattern": self.pattern.value, "notes": list(self.notes)}


def check_fraction(fraction: float, pattern: Pattern) -> None:
    """Raise InvalidQuantity unless that share of weights can be pruned in that pattern."""
    if not 0 < fraction < 1:
        raise InvalidQuantity(f"sparsity: must be above 0 and below 1, got {fraction:g}")
    if pattern is Pattern.TWO_OF_FOUR and fraction != 0.5:
        raise InvalidQuantity(
            f"sparsity: 2:4 prunes half of the weights, so it must be 0.5, got {fraction:g}"
        )


def without_heads_and_columns(architecture: Architecture, fraction: float) -> Architecture:
    """The architecture after structured pruning: that share of KV heads (with their queries) and MLP columns.

    At least one KV head stays; the MLP width is rounded to a multiple of 32.
    """
    check_fraction(fraction, Pattern.STRUCTURED)
    a = architecture
    if a.layer_num_heads or a.layer_intermediate_sizes:
        raise InvalidQuantity(f"sparsity: {a.name!r} has heads and MLP widths of its own in each layer")
    kv_heads = max(1, round(a.num_kv_heads * (1 - fraction)))
    columns = max(1, round(a.intermediate_size * (1 - fraction) / _MLP_MULTIPLE)) * _MLP_MULTIPLE
    return replace(
        a,
        name=f"{a.name} pruned",
        num_kv_heads=kv_heads,
        num_heads=kv_heads * (a.num_heads // a.num_kv_heads),
        intermediate_size=min(a.intermediate_size, columns),
    )


def _is_pruned(spec: TensorSpec) -> bool:
    return spec.access is Access.MATMUL and spec.role.group in (Group.ATTENTION, Group.MLP)


def zeros(sized: Estimate, fraction: float, pattern: Pattern) -> Sparsity:
    """What zeros in that share of the blocks' matrices save: nothing, whatever the format says of bits."""
    assert pattern is not Pattern.STRUCTURED, "structured pruning is another architecture"
    check_fraction(fraction, pattern)
    specs = tensor_specs(sized.architecture)
    zero = sum(int(spec.num_elements * fraction) for spec in specs if _is_pruned(spec))
    notes = [
        f"{fraction:.0%} of the blocks' weights are zero: {zero:,} of {sized.parameters.total:,} in all; "
        f"{sized.format} under {sized.runtime} stores a zero like any other weight, so file, memory and "
        "speed stay as they are",
    ]
    if pattern is Pattern.TWO_OF_FOUR:
        notes.append(_two_of_four_note(sized))
    return Sparsity(
        pattern=pattern,
        fraction=fraction,
        zero_weights=zero,
        nonzero_weights=sized.parameters.total - zero,
        file_bytes_saved=0,
        memory_bytes_saved=0,
        notes=tuple(notes),
    )


def _two_of_four_note(sized: Estimate) -> str:
    from sizer.runtimes import runtime

    stored = runtime(sized.runtime).store(sized.architecture, sized.format)
    held = [t for t in stored if _is_pruned(t.spec) and isinstance(t.type, Plain) and t.type.name != "F32"]
    if sized.runtime != "transformers" or not held:
        return f"no kernel of {sized.runtime} for {sized.format} makes use of 2:4"
    saved = sum(t.num_bytes - t.spec.num_elements * (16 + _POSITION_BITS) // 16 for t in held)
    return (
        "on an NVIDIA GPU of the Ampere generation or later, PyTorch's semi-structured kernels hold these "
        f"matrices in 9/16 of their bytes: {format_bytes(saved)} less memory there, the file unchanged"
    )


def removed(before: Estimate, after: Estimate, fraction: float) -> Sparsity:
    """What structured pruning saved: the difference of two estimates, at equal format and runtime."""
    zero = before.parameters.total - after.parameters.total
    a = after.architecture
    return Sparsity(
        pattern=Pattern.STRUCTURED,
        fraction=fraction,
        zero_weights=zero,
        nonzero_weights=after.parameters.total,
        file_bytes_saved=before.file.total - after.file.total,
        memory_bytes_saved=before.memory.total_bytes - after.memory.total_bytes,
        notes=(
            f"heads and MLP columns are gone from the shape: {a.num_heads} heads over {a.num_kv_heads} KV "
            f"heads and MLP width {a.intermediate_size} from {before.architecture.num_heads} over "
            f"{before.architecture.num_kv_heads} and {before.architecture.intermediate_size}; the file is "
            f"{format_bytes(before.file.total - after.file.total)} smaller in every runtime",
        ),
    )
