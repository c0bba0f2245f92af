"""Pruning: savings of fewer heads, unstructured zeros or 2:4 sparsity under a format and a runtime.

Structured pruning gives a smaller architecture. Zeros inside a matrix are
stored like any other weight by every format here, so they save nothing in file, memory or speed; only NVIDIA
GPUs since Ampere multiply 2:4 matrices in a form that leaves the zeros out. Sources: SparseGPT (arXiv
2301.00774: the matrices of the blocks are pruned, tables and norms are not), Mishra et al. (arXiv 2104.08378:
2:4 keeps half of the values and two bits of position for each).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum, unique
from typing import Any

from sizer.architecture import Architecture, parse_enum
from sizer.errors import InvalidQuantity, shown
from sizer.formats.groups import Plain
from sizer.model_estimate import Estimate
from sizer.tensors import Access, Group, TensorSpec, tensor_specs
from sizer.units import format_bytes

_MLP_MULTIPLE = 32  # the smallest block of the usual formats
_POSITION_BITS = 2


@unique
class Pattern(StrEnum):
    """Pruned weights: whole heads and MLP columns, any, or two in every four."""

    STRUCTURED = "structured"
    UNSTRUCTURED = "unstructured"
    TWO_OF_FOUR = "2:4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """Result of pruning: zero weights, and bytes saved in the file and in memory."""

    pattern: Pattern
    fraction: float
    zero_weights: int
    nonzero_weights: int
    file_bytes_saved: int
    memory_bytes_saved: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {**asdict(self), "pattern": self.pattern.value, "notes": list(self.notes)}


def check_fraction(fraction: float, pattern: Pattern) -> None:
    """Raise InvalidQuantity unless that share of weights can be pruned in that pattern."""
    if not 0 < fraction < 1:
        raise InvalidQuantity(f"sparsity: must be above 0 and below 1, got {shown(fraction)}")
    if pattern is Pattern.TWO_OF_FOUR and fraction != 0.5:
        raise InvalidQuantity(
            f"sparsity: 2:4 prunes half of the weights, so it must be 0.5, got {fraction:g}"
        )


def without_heads_and_columns(architecture: Architecture, fraction: float) -> Architecture:
    """Remove a share of the KV heads (with their query heads) and MLP columns.

    At least one KV head remains; the MLP width is rounded to a multiple of 32.
    """
    check_fraction(fraction, Pattern.STRUCTURED)
    a = architecture
    if a.layer_num_heads or a.layer_intermediate_sizes:
        raise InvalidQuantity(f"sparsity: {a.name!r} has different heads and FFN sizes in each layer")
    if not a.num_kv_heads or a.recurrent or a.latent_attention:
        raise InvalidQuantity(f"sparsity: {a.name!r} does not mix tokens by attention with heads alone")
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
    """Return the savings of zeros in that share of the blocks' matrices: no bytes in any format."""
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
    held = [
        t
        for t in sized.stored_tensors()
        if _is_pruned(t.spec) and isinstance(t.type, Plain) and t.type.name != "F32"
    ]
    if sized.runtime != "transformers" or not held:
        return f"no kernel of {sized.runtime} for {sized.format} makes use of 2:4"
    saved = sum(t.num_bytes - t.spec.num_elements * (16 + _POSITION_BITS) // 16 for t in held)
    return (
        "on an NVIDIA GPU of the Ampere generation or later, PyTorch's semi-structured kernels hold these "
        f"matrices in 9/16 of their bytes: {format_bytes(saved)} less memory there, the file unchanged"
    )


def removed(before: Estimate, after: Estimate, fraction: float) -> Sparsity:
    """Return the savings of structured pruning: two estimates' difference at equal format and runtime."""
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


def estimate_pruned(
    size: Callable[[Architecture], Estimate],
    before: Estimate,
    fraction: float | None,
    pattern: str | None,
) -> tuple[Estimate, Sparsity]:
    """Return an estimate after pruning, noted in it, and the savings; `size` estimates another shape."""
    if fraction is None:
        raise InvalidQuantity("sparsity_pattern: chooses how to prune; give sparsity with it")
    kind = parse_enum(Pattern, pattern or Pattern.UNSTRUCTURED.value, "sparsity_pattern")
    check_fraction(fraction, kind)
    result = before
    if kind is Pattern.STRUCTURED:
        result = size(without_heads_and_columns(before.architecture, fraction))
        saved = removed(before, result, fraction)
    else:
        saved = zeros(before, fraction, kind)
    return replace(result, assumptions=(*saved.notes, *result.assumptions)), saved
