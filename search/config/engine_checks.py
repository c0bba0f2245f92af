"""Checks of a space against the runtime that its models are deployed on."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.errors import InvalidQuantity, UnknownName
from sizer.runtimes import runtime as runtime_by_name
from sizer.workload import QUANTIZED_CACHE_TYPES

# Numbers in a block of every quantized type of KV cache.
CACHE_BLOCK = 32


def check_engine(
    runtime: str,
    *,
    formats: Sequence[object],
    cache_types: Sequence[str],
    head_dims: Sequence[int],
    ffn_growths: Sequence[float],
    experts: Sequence[int],
    windows: Sequence[int],
    convolutions: Sequence[int],
) -> None:
    """Raise a SizerError for a format, cache type or kind of layer that the runtime has not."""
    engine = runtime_by_name(runtime)
    for name in formats:
        if not isinstance(name, str):  # a number in a file's list
            raise UnknownName.of(f"{engine.name} format", str(name), engine.formats)
        engine.format_name(name)
    for name in cache_types:
        if name not in engine.cache_types:
            raise UnknownName.of(f"{engine.name} cache type", str(name), engine.cache_types)
    if engine.why_one_ffn_size is not None and set(ffn_growths) != {1.0}:
        raise InvalidQuantity(
            f"ffn_growths: {engine.name} runs no FFN sizes by layer ({engine.why_one_ffn_size}), got "
            f"{list(ffn_growths)}; accepted: 1, or llama.cpp"
        )
    if engine.why_no_experts is not None and max(experts) > 1:
        raise InvalidQuantity(
            f"experts: {engine.name} runs no experts of a search's models ({engine.why_no_experts}), got "
            f"{list(experts)}; accepted: 1, or llama.cpp"
        )
    if engine.why_no_windows is not None and any(windows):
        raise InvalidQuantity(
            f"windows: {engine.name} runs no sliding windows in some layers of a search's models "
            f"({engine.why_no_windows}), got {list(windows)}; accepted: 0, or llama.cpp"
        )
    if engine.why_no_convolutions is not None and any(convolutions):
        raise InvalidQuantity(
            f"convolutions: {engine.name} runs no short convolutions in some layers of a search's models "
            f"({engine.why_no_convolutions}), got {list(convolutions)}; accepted: 0, or llama.cpp"
        )
    quantized = [name for name in cache_types if name in QUANTIZED_CACHE_TYPES]
    for value in head_dims if quantized else ():
        if value % CACHE_BLOCK:
            raise InvalidQuantity(
                f"head_dims: must be multiples of {CACHE_BLOCK} with a {quantized[0]} cache, got {value}"
            )
