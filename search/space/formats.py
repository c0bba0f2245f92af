"""What a search asks of weight formats: row lengths they need, their bits, the smallest file they allow."""

from __future__ import annotations

from functools import lru_cache
from math import lcm

from search.config.config import SearchConfig
from search.space.experts import with_experts
from sizer.architecture import Architecture
from sizer.download import tokenizer_apart_bytes
from sizer.runtimes import runtime as runtime_by_name
from sizer.shapes.format_widths import ROW_STEP, row_multiple


def file_bytes(
    architecture: Architecture, format_name: str, runtime: str, tokenizer_bytes: int | None = None
) -> int:
    """Return the bytes of a model's file, and of a tokenizer that is deployed apart from it.

    `tokenizer_bytes` are those of the file's metadata where it holds any.
    """
    engine = runtime_by_name(runtime)
    file = engine.file_bytes(architecture, engine.store(architecture, format_name))
    return file.with_metadata(tokenizer_bytes).total + tokenizer_apart_bytes(file, architecture.vocab_size)


@lru_cache(maxsize=64)
def smallest_file_bytes(config: SearchConfig) -> int:
    """Return bytes of the smallest file in the space: narrowest, shallowest, one KV head."""
    found = []
    experts = min(config.space.expert_mixes, key=lambda mix: mix.unused)
    for name in config.space.formats:
        format_name = runtime_by_name(config.budget.runtime).format_name(name)
        multiple = (
            ROW_STEP if config.space.allow_fallback else row_multiple(config.budget.runtime, format_name)
        )
        for head_dim in config.space.head_dims:
            step = lcm(head_dim, multiple)
            width = -(-config.space.min_hidden_size // step) * step
            if width > config.space.max_hidden_size:
                continue
            smallest = Architecture(
                vocab_size=min(config.space.vocab_size),
                num_layers=config.space.min_executed_layers,
                hidden_size=width,
                intermediate_size=max(
                    multiple, round(config.space.min_ffn_ratio * width / experts.used / multiple) * multiple
                )
                * experts.count,
                num_heads=width // head_dim,
                num_kv_heads=1,
                head_dim=head_dim,
                tie_embeddings=max(config.space.tie_embeddings),
            )
            found.append(
                file_bytes(
                    with_experts(smallest, experts),
                    format_name,
                    config.budget.runtime,
                    config.budget.tokenizer_bytes,
                )
            )
    return min(found, default=0)
