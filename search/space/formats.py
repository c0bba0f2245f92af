"""What a search asks of weight formats: row lengths they need, their bits, the smallest file they allow."""

from __future__ import annotations

from functools import lru_cache
from math import lcm

from search.space.config import SearchConfig
from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.runtimes import runtime as runtime_by_name

# Engines' kernels take rows in steps of 32 even where the type itself would not ask for it.
ROW_STEP = 32


def file_bytes(architecture: Architecture, format_name: str, runtime: str) -> int:
    """Bytes of a model's file under a runtime."""
    engine = runtime_by_name(runtime)
    return engine.file_bytes(architecture, engine.store(architecture, format_name)).total


@lru_cache(maxsize=1024)
def row_multiple(runtime: str, format_name: str, query_heads_per_kv_head: int = 1) -> int:
    """What rows of a block's matrices must be a multiple of for a format to store them as it means to.

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


@lru_cache(maxsize=256)
def format_bits(runtime: str, format_name: str) -> float:
    """Bits per weight of the blocks of a format, where no row falls back."""
    probe = Architecture(
        vocab_size=256,
        num_layers=16,
        hidden_size=1024,
        intermediate_size=2816,
        num_heads=16,
        num_kv_heads=16,
        head_dim=64,
    )
    stored = runtime_by_name(runtime).store(probe, format_name)
    blocks = [t for t in stored if t.spec.layer is not None and len(t.spec.shape) > 1]
    return 8 * sum(t.num_bytes for t in blocks) / sum(t.spec.num_elements for t in blocks)


@lru_cache(maxsize=64)
def smallest_file_bytes(config: SearchConfig) -> int:
    """Bytes of the smallest file in the space: narrowest, shallowest, one KV head, in its smallest format."""
    found = []
    for name in config.formats:
        format_name = runtime_by_name(config.runtime).format_name(name)
        multiple = ROW_STEP if config.allow_fallback else row_multiple(config.runtime, format_name)
        for head_dim in config.head_dims:
            step = lcm(head_dim, multiple)
            width = -(-config.min_hidden_size // step) * step
            if width > config.max_hidden_size:
                continue
            smallest = Architecture(
                vocab_size=config.vocab_size,
                num_layers=config.min_executed_layers,
                hidden_size=width,
                intermediate_size=max(multiple, round(config.min_ffn_ratio * width / multiple) * multiple),
                num_heads=width // head_dim,
                num_kv_heads=1,
                head_dim=head_dim,
                tie_embeddings=max(config.tie_embeddings),
            )
            found.append(file_bytes(smallest, format_name, config.runtime))
    return min(found, default=0)
