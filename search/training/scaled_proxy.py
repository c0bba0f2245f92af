"""Scaled proxies: narrower models, as deep and of the same ratios, for models too large to be trained.

What a search compares stays: executed depth, sharing, the number of heads and how many share a KV head, the
feed-forward ratio, kinds of blocks, tied or not. The width shrinks, with it `head_dim`, and the vocabulary if
asked. Candidates compared by proxies must all be scaled by one factor: with one width for all, a search could
not compare widths.

Widths are multiples of WIDTH_STEP. `deviations` lists what rounding to integers changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import log2
from typing import TYPE_CHECKING, NamedTuple

from search.config.proxy_width import WIDTH_SCALES, WIDTH_STEP
from sizer.architecture import Architecture
from sizer.block_kinds import EXPERT_FIELDS
from sizer.errors import InvalidArchitecture, InvalidQuantity, shown
from sizer.formats.ggml import TYPES
from sizer.runtimes import runtime as runtime_by_name
from sizer.tensors import tensor_specs

if TYPE_CHECKING:
    from search.config.config import SearchConfig

# Fields beyond Llama's that stay as they are or shrink with the width
_SCALED_BEYOND_LLAMA = ("layer_intermediate_sizes", "attention_sinks", "conv_layers", *EXPERT_FIELDS)

# Ratios that differ by less are the same to the digits that `deviations` prints.
_SAME = 0.005


class Deviation(NamedTuple):
    """A ratio or count that differs between a model and its proxy."""

    name: str
    model: float
    proxy: float

    @property
    def text(self) -> str:
        """Return text such as "query heads per KV head 2 instead of 3"."""
        return f"{self.name} {self.proxy:.3g} instead of {self.model:.3g}"


def scaled_proxy(
    architecture: Architecture,
    *,
    width_scale: float | None = None,
    hidden_size: int | None = None,
    vocab_size: int | None = None,
) -> Architecture:
    """Return the model at `width_scale` times its width, or at `hidden_size`: as deep and of the same ratios.

    `hidden_size` becomes the nearest multiple of WIDTH_STEP where a scale is given, and so does `head_dim`.
    The number of heads is that of the model; where `head_dim` is too coarse for that, attention keeps its
    width over `hidden_size` and changes its heads, always as many for each KV head as in the model.

    >>> mobilellm = Architecture(
    ...     vocab_size=32000, num_layers=30, hidden_size=576, intermediate_size=1536, num_heads=9,
    ...     num_kv_heads=3, head_dim=64,
    ... )
    >>> p = scaled_proxy(mobilellm, width_scale=0.25, vocab_size=256)
    >>> p.num_layers, p.hidden_size, p.intermediate_size, p.num_heads, p.num_kv_heads, p.head_dim
    (30, 144, 384, 9, 3, 16)
    >>> deviations(mobilellm, p)
    ()
    """
    a = architecture
    if other := [name for name in a.beyond_llama if name not in _SCALED_BEYOND_LLAMA]:
        raise InvalidArchitecture(f"{', '.join(other)}: cannot be scaled; accepted: Llama's")
    width = _width(a, width_scale, hidden_size)
    if vocab_size is not None:
        _check_whole("vocab_size", vocab_size, a.vocab_size)
        a = replace(a, vocab_size=vocab_size)
    if width == a.hidden_size:
        return a
    scale = width / a.hidden_size
    head_dim = _stepped(a.head_dim * scale, a.head_dim)
    heads, kv_heads = _heads(a, a.q_width * scale / head_dim)
    return replace(
        a,
        name=f"{a.name} at width {width}",
        hidden_size=width,
        intermediate_size=_stepped(a.intermediate_size * scale, a.intermediate_size),
        layer_intermediate_sizes=_sizes_by_layer(a, scale),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
    )


def proxy_of(architecture: Architecture, config: SearchConfig) -> Architecture | None:
    """Return what a search trains in an architecture's place; None where it trains it as it is."""
    scale = 1.0 if config.training.proxy_width_scale is None else config.training.proxy_width_scale
    proxy = scaled_proxy(architecture, width_scale=scale, vocab_size=config.training.proxy_vocab_size)
    return None if proxy == architecture else proxy


def _width(a: Architecture, width_scale: float | None, hidden_size: int | None) -> int:
    if (width_scale is None) == (hidden_size is None):
        raise InvalidQuantity("width_scale: give either width_scale or hidden_size, and not both")
    if hidden_size is not None:
        _check_whole("hidden_size", hidden_size, a.hidden_size)
        if hidden_size % WIDTH_STEP and hidden_size != a.hidden_size:
            raise InvalidQuantity(f"hidden_size: must be a multiple of {WIDTH_STEP}, got {hidden_size}")
        return hidden_size
    assert width_scale is not None
    WIDTH_SCALES.check("width_scale", width_scale)
    return a.hidden_size if width_scale == 1 else _stepped(a.hidden_size * width_scale, a.hidden_size)


def _check_whole(name: str, value: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidQuantity(f"{name}: must be a whole number from 1 to {most}, got {shown(value)}")


def _stepped(wanted: float, most: int) -> int:
    """Return the multiple of WIDTH_STEP nearest to `wanted`, at least one step and at most `most`."""
    return min(most, max(1, int(wanted / WIDTH_STEP + 0.5)) * WIDTH_STEP)


def _sizes_by_layer(a: Architecture, scale: float) -> tuple[int, ...]:
    """Return scaled FFN sizes of layers that differ; none where rounding makes them equal."""
    sizes = tuple(_stepped(size * scale, size) for size in a.layer_intermediate_sizes)
    return sizes if len(set(sizes)) > 1 else ()


def _heads(a: Architecture, wanted: float) -> tuple[int, int]:
    """Return query and KV heads in the model's ratio, nearest to `wanted` query heads."""
    group = a.num_heads // a.num_kv_heads
    fewer = max(1, int(wanted / group))
    kv_heads = min((fewer, fewer + 1), key=lambda kv: abs(log2(kv * group / wanted)))
    return kv_heads * group, kv_heads


def split_blocks(
    architecture: Architecture, proxy: Architecture, format_name: str, runtime: str
) -> tuple[int, ...]:
    """Return the block sizes of a model's file that do not divide the proxy's rows."""
    rows = {spec.role: spec.row_length for spec in tensor_specs(proxy) if len(spec.shape) > 1}
    stored = runtime_by_name(runtime).store(architecture, format_name)
    matrices = [t for t in stored if t.spec.role in rows and t.type.name in TYPES]  # others have no blocks
    blocks = {(TYPES[t.type.name].block_elements, rows[t.spec.role]) for t in matrices}
    return tuple(sorted({block for block, row in blocks if row % block}))


def deviations(architecture: Architecture, proxy: Architecture) -> tuple[Deviation, ...]:
    """Return the ratios and counts in which a proxy of `scaled_proxy` differs from its model."""
    return tuple(d for d in _compared(architecture, proxy) if abs(log2(d.proxy / d.model)) > _SAME)


def _compared(a: Architecture, b: Architecture) -> Iterator[Deviation]:
    yield Deviation("query heads", a.num_heads, b.num_heads)
    yield Deviation("attention width over hidden_size", a.q_width / a.hidden_size, b.q_width / b.hidden_size)
    yield Deviation(
        "intermediate_size over hidden_size",
        a.intermediate_size / a.hidden_size,
        b.intermediate_size / b.hidden_size,
    )
