"""Shapes to choose from under a budget: depths, widths, feed-forward widths and heads, as a grid.

Ratios are those of published small decoders: feed-forward widths of 8/3 to 3 widths, heads 32 to 128 wide,
up to 16 query heads per KV head.
Depth and width go on to whatever the budget holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sizer.grid import Grid
from sizer.shapes.near_count import llama_shape

Ints = NDArray[np.int64]

MOST_DEPTH = 96
# Widths, and feed-forward widths, are multiples of this.
STEP = 32
LEAST_WIDTH, MOST_WIDTH = 64, 8192

_FFN_RATIOS = 8 / 3, 3.0
_HEAD_DIMS = (32, 48, 64, 80, 96, 128)
_MOST_GROUP = 16  # query heads per KV head
_DEPTHS = np.arange(1, MOST_DEPTH + 1)


class ShapeDims(NamedTuple):
    """All sizes of a shape but its depth and its vocabulary."""

    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How many shapes there are to choose from: many where a grid sizes them, few where estimate() must."""

    rows: int
    widths: int
    ffn_widths: int  # of each width
    depths: int  # of a curve
    one_recipe: bool  # heads of `sizer.shapes.near_count.llama_shape` only


WIDE = Extent(rows=80_000, widths=48, ffn_widths=6, depths=48, one_recipe=False)
NARROW = Extent(rows=120, widths=12, ffn_widths=1, depths=16, one_recipe=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeGrid:
    """Where shapes are taken from: a vocabulary, and the file bytes of the rows of a grid in one format."""

    vocab_size: int
    tied: bool
    files: Callable[[Grid], Ints]
    extent: Extent

    def below(self, most_bytes: float) -> Grid:
        """Return the shapes whose files are about at most so large; the smallest of all in any case.

        Of every width as deep as that allows; depths are thinned out where all of them would be too many.
        """
        every = _spread(self._widths(most_bytes), self.extent.widths)
        deepest = self._deepest(every, most_bytes)
        forms = [np.array(list(self._forms(int(width))), np.int64) for width in every]
        share = self.extent.rows / sum(int(d) * len(f) for d, f in zip(deepest, forms, strict=True))
        blocks = [
            _cross(_spread(_DEPTHS[:deep], max(2, round(min(1.0, share) * deep))), form)
            for deep, form in zip(deepest, forms, strict=True)
        ]
        return self._grid(np.concatenate(blocks))

    def of_size(self, target_bytes: float, *, least_share: float) -> Grid:
        """Return for each depth the shape whose file is nearest below a size.

        Heads are as wide as `sizer.shapes.near_count.llama_shape`'s; the feed-forward width and the number of
        KV heads fill what the width leaves. Depths with nothing above `least_share` of the size are left out.
        """
        depths = _spread(_DEPTHS, self.extent.depths)
        every = self._widths(target_bytes)
        if self.extent.one_recipe:
            every = _spread(every, 3 * self.extent.widths)
        forms = np.array([form for width in every for form in self._filling(int(width))], np.int64)
        grid = self._grid(_cross(depths, forms))
        files = self.files(grid).reshape(len(depths), len(forms))
        below = np.where(files <= target_bytes, files, 0)
        best = below.argmax(axis=1)
        filled = below.max(axis=1) >= least_share * target_bytes
        return grid.subset((np.arange(len(depths)) * len(forms) + best)[filled])

    def _widths(self, most_bytes: float) -> Ints:
        """Return widths whose shallowest model fits, found by halving; the narrowest in any case."""
        low, high = LEAST_WIDTH // STEP, MOST_WIDTH // STEP
        while low < high:
            middle = (low + high + 1) // 2
            plain = np.array([self._plain(middle * STEP)], np.int64)
            fits = self.files(self._grid(_cross(_DEPTHS[:1], plain)))[0] <= most_bytes
            low, high = (middle, high) if fits else (low, middle - 1)
        return np.arange(LEAST_WIDTH, low * STEP + 1, STEP)

    def _deepest(self, widths: Ints, most_bytes: float) -> Ints:
        """Return layers that each width has room for, as if each took as much as the second; at least one."""
        forms = np.array([self._plain(int(width)) for width in widths], np.int64)
        one, two = self.files(self._grid(_cross(_DEPTHS[:2], forms))).reshape(2, len(widths))
        layers: Ints = np.clip(1 + (most_bytes - one) // (two - one), 1, MOST_DEPTH).astype(np.int64)
        return layers

    def _plain(self, width: int) -> ShapeDims:
        """Return the smallest form of a width."""
        return ShapeDims(width, _ffn_widths(width, 1)[0], width // STEP, 1, STEP)

    def _forms(self, width: int) -> Iterator[ShapeDims]:
        if self.extent.one_recipe:
            yield from self._recipe(width, most_ffn=self.extent.ffn_widths)
            return
        for ffn in _ffn_widths(width, self.extent.ffn_widths):
            for head_dim in _HEAD_DIMS:
                if width % head_dim == 0:
                    heads = width // head_dim
                    yield from (ShapeDims(width, ffn, heads, kv, head_dim) for kv in _kv_heads(heads))

    def _recipe(self, width: int, *, most_ffn: int) -> Iterator[ShapeDims]:
        one = llama_shape(width, self.vocab_size, self.tied)
        for ffn in _ffn_widths(width, most_ffn):
            yield ShapeDims(width, ffn, one.num_heads, one.num_kv_heads, one.head_dim)

    def _filling(self, width: int) -> Iterator[ShapeDims]:
        """Return the recipe's heads with whatever feed-forward width and KV heads fill a file best."""
        one = llama_shape(width, self.vocab_size, self.tied)
        kv_heads = (one.num_kv_heads,) if self.extent.one_recipe else _kv_heads(one.num_heads)
        for ffn in _ffn_widths(width, 8):
            yield from (ShapeDims(width, ffn, one.num_heads, kv, one.head_dim) for kv in kv_heads)

    def _grid(self, columns: Ints) -> Grid:
        names = ("num_layers", *ShapeDims._fields)
        like = llama_shape(512, self.vocab_size, self.tied)
        sizes: dict[str, Any] = {name: columns[:, i] for i, name in enumerate(names)}
        return Grid.build(like, **sizes)


def _cross(depths: Ints, forms: Ints) -> Ints:
    """Return every depth with every form, a row each, forms changing fastest."""
    return np.column_stack([np.repeat(depths, len(forms)), np.tile(forms, (len(depths), 1))])


def _kv_heads(heads: int) -> tuple[int, ...]:
    return tuple(kv for kv in range(1, heads + 1) if heads % kv == 0 and heads // kv <= _MOST_GROUP)


def _ffn_widths(width: int, most: int) -> list[int]:
    """Return feed-forward widths over the width inside the usual ratios, or the nearest to it."""
    least, largest = _FFN_RATIOS
    inside = np.arange(-(-int(width * least) // STEP) * STEP, int(width * largest) + 1, STEP)
    if not len(inside):
        inside = np.array([round(width * least / STEP) * STEP])
    found: list[int] = _spread(inside, most).tolist()
    return found


def _spread(values: Ints, count: int) -> Ints:
    """Return at most that many of rising values, first and last included, in steps of a ratio."""
    if len(values) <= count:
        return values
    wanted = np.geomspace(values[0], values[-1], count)
    chosen: Ints = values[np.unique(np.abs(values[None, :] - wanted[:, None]).argmin(axis=1))]
    return chosen
