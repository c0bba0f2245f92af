"""Row lengths that weight formats need: what hidden and FFN sizes must be a multiple of."""

from __future__ import annotations

from functools import lru_cache

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.runtimes import runtime as runtime_by_name

# Engines' kernels take rows in steps of 32 even where the type itself would not ask for it.
ROW_STEP = 32


@lru_cache(maxsize=1024)
def row_multiple(runtime: str, format_name: str, query_heads_per_kv_head: int = 1) -> int:
    """Return what rows of a block's matrices must be a multiple of for a format to store them as it means to.

    Read off a runtime's own choice for shapes of 32, 64, 128 and 256. The tables' types are left out: a
    tied table of Q4_0 is Q6_K at widths that 256 divides and Q8_0 at others, and either is usual.
    """
    # Rules ask for 4 or more, which a group proposed as 3 may become where heads do not divide.
    group = 4 if query_heads_per_kv_head >= 3 else query_heads_per_kv_head
    meant = _block_types(runtime, format_name, 256, group)
    for multiple in (ROW_STEP, 64, 128):
        if _block_types(runtime, format_name, multiple, group) == meant:
            return multiple
    return 256


def _block_types(runtime: str, format_name: str, width: int, group: int) -> tuple[str, ...] | None:
    probe = Architecture(
        vocab_size=256,
        num_layers=16,
        hidden_size=width,
        intermediate_size=width,
        num_heads=group,
        num_kv_heads=1,
        head_dim=width // group,
    )
    try:
        stored = runtime_by_name(runtime).store(probe, format_name)
    except InvalidArchitecture:
        return None  # ExecuTorch refuses rows that its groups do not divide
    return tuple(t.type.name for t in stored if t.spec.layer is not None and len(t.spec.shape) > 1)
