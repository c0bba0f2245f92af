"""Weight formats of a runtime: those searched by default, and bits per weight, by which they are ordered."""

from __future__ import annotations

from functools import lru_cache

from sizer.architecture import Architecture
from sizer.runtimes import DEFAULT_RUNTIME
from sizer.runtimes import runtime as runtime_by_name

# Of llama.cpp: from 1.58 bits to 16, one or two of each number of bits.
_LLAMA_CPP = ("TQ1_0", "Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_0", "Q6_K", "Q8_0", "F16")


def usual_formats(runtime: str) -> tuple[str, ...]:
    """Return the formats searched where none is named: those that a runtime's users mean by a number of bits.

    Only those that models can be scored in; all of these where none is customary.
    """
    engine = runtime_by_name(runtime)
    if engine.name == DEFAULT_RUNTIME:
        return _LLAMA_CPP
    usual = dict.fromkeys(engine.customary_formats[bits] for bits in sorted(engine.customary_formats))
    return (
        tuple(name for name in usual if engine.why_not_searchable(name) is None) or engine.searchable_formats
    )


@lru_cache(maxsize=256)
def format_bits(runtime: str, format_name: str) -> float:
    """Return bits per weight of the blocks of a format, without fallbacks."""
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
