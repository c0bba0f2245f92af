"""Fake quantization to ggml's types that search for their scales: Q2_K to Q6_K, IQ4_NL and IQ4_XS.

Vectorised over blocks from quantize_row_*_ref in ggml/src/ggml-quants.c, function by function. Every input
and output is float32 `[super_blocks, elements]`. Products and sums are rounded in ggml's order: values
are ggml's own (of a build without fused multiply-add, as for x86-64). `groups` below are the runs of
16 or 32 weights with a scale of their own inside a super-block of 256, `[super_blocks, groups, elements]`;
searches take their elements first, `[elements, all groups]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy
import torch
from torch import Tensor

from search.training.rounding import as_half, divide, first_extreme, inverse

# Groups with no larger magnitude count as all zero (GROUP_MAX_EPS in ggml-quants.c).
_ZERO_GROUP = 1e-15

# The non-linear 4-bit levels (kvalues_iq4nl in ggml-common.h).
_IQ4_LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def q2_k(x: Tensor) -> Tensor:
    """Return 2-bit levels, 16 groups of 16 with a 4-bit scale and a 4-bit minimum."""
    return q2_k_levels(x, *q2_k_grid(x))


def q2_k_grid(x: Tensor) -> tuple[Tensor, Tensor]:
    """Step between levels and depth of the lowest that Q2_K finds for each group, `[super_blocks, 16, 1]`."""
    groups = x.view(-1, 16, 16)
    importance = _elements_first(groups).abs()
    scale, low = _search_affine(groups, importance, top=3, first=-0.5, steps=15, absolute_error=True)
    return _affine_grid(scale, low, scale_top=15)


def q2_k_levels(x: Tensor, step: Tensor, shift: Tensor) -> Tensor:
    """Return the nearest 2-bit levels on a grid of `q2_k_grid`."""
    return _affine_levels(x.view(-1, 16, 16), step, shift, top=3).view_as(x)


def q4_k(x: Tensor) -> Tensor:
    """Round to 4-bit levels, 8 groups of 32 with a 6-bit scale and a 6-bit minimum."""
    groups = x.view(-1, 8, 32)
    scale, low = _search_affine(groups, _importance(groups), top=15, first=-1.0, steps=20)
    return _affine_groups(groups, scale, low, top=15, scale_top=63).view_as(x)


def q5_k(x: Tensor) -> Tensor:
    """Round to 5-bit levels, 8 groups of 32 with a 6-bit scale and a 6-bit minimum."""
    groups = x.view(-1, 8, 32)
    scale, low = _search_affine(groups, _importance(groups), top=31, first=-0.5, steps=15)
    return _affine_groups(groups, scale, low, top=31, scale_top=63).view_as(x)


def q3_k(x: Tensor) -> Tensor:
    """Return 3-bit levels from -4 to 3, 16 groups of 16 with a 6-bit signed scale."""
    groups = x.view(-1, 16, 16)
    scale = _search_by_descent(groups, half=4)
    largest = first_extreme(scale.squeeze(-1)).unsqueeze(-1)
    per_step = _over(-32, largest)
    quantized_scale = (per_step * scale).round().clamp(-32, 31)
    step = as_half(inverse(per_step)) * quantized_scale
    # Where the scale rounds to nothing every level reads back as zero.
    return (_over(groups, step).round().clamp(-4, 3) * step).view_as(x)


def q6_k(x: Tensor) -> Tensor:
    """Round to 6-bit levels from -32 to 31, 16 groups of 16 with an 8-bit signed scale."""
    groups = x.view(-1, 16, 16)
    scale = _search_symmetric(groups, half=32)
    largest = first_extreme(scale.squeeze(-1)).unsqueeze(-1)
    largest = torch.where(largest.abs() < _ZERO_GROUP, 0.0, largest)
    per_step = _over(-128, largest)
    quantized_scale = (per_step * scale).round().clamp(max=127)
    step = as_half(inverse(per_step)) * quantized_scale
    return (_over(groups, step).round().clamp(-32, 31) * step).view_as(x)


def iq4_nl(x: Tensor) -> Tensor:
    """Return non-linear 4-bit levels, one half-precision scale for 32 weights."""
    scale = _search_levels(x)
    return _nearest_levels(x * inverse(scale)) * as_half(scale)


def iq4_xs(x: Tensor) -> Tensor:
    """Return non-linear 4-bit levels, 8 groups of 32 with a 6-bit signed scale."""
    groups = x.view(-1, 8, 32)
    scale = _search_levels(groups)
    step = first_extreme(scale.squeeze(-1)).unsqueeze(-1) / -32
    quantized_scale = (scale * inverse(step)).round().clamp(-32, 31)
    levels = _nearest_levels(groups * inverse(step * quantized_scale))
    return (levels * (as_half(step) * quantized_scale)).view_as(x)


def _over(number: float | Tensor, scale: Tensor) -> Tensor:
    """Return number / scale, and 0 where the scale is 0."""
    exact = number / scale if isinstance(number, Tensor) else divide(number, scale)
    return torch.where(scale == 0, 0.0, exact)


def _elements_first(groups: Tensor) -> Tensor:
    """Return groups as `[elements, all groups]`, each row contiguous."""
    return groups.flatten(0, -2).T.contiguous()


def _sum_in_order(terms: Tensor) -> Tensor:
    """Return sums over the first axis, one term after the other as a loop in C adds them."""
    total = terms[0].clone()
    for term in terms[1:]:
        total += term
    return total


def _importance(groups: Tensor) -> Tensor:
    """Return the elements' weights in the search of Q4_K and Q5_K: group RMS plus magnitude."""
    x = _elements_first(groups)
    mean = _sum_in_order(x.square()) / len(x)
    # torch's root of float32 may be off in the last place, that of float64 rounds to the right one
    return mean.double().sqrt().float() + x.abs()


def _affine_groups(groups: Tensor, scale: Tensor, low: Tensor, *, top: int, scale_top: int) -> Tensor:
    """Round scales and minima to `scale_top` levels of the super-block's largest, then the weights."""
    return _affine_levels(groups, *_affine_grid(scale, low, scale_top=scale_top), top=top)


def _affine_grid(scale: Tensor, low: Tensor, *, scale_top: int) -> tuple[Tensor, Tensor]:
    largest, deepest = scale.amax(1, keepdim=True), low.amax(1, keepdim=True)
    scale_levels = (_over(scale_top, largest) * scale).round().clamp(max=scale_top)
    low_levels = (_over(scale_top, deepest) * low).round().clamp(max=scale_top)
    return as_half(largest / scale_top) * scale_levels, as_half(deepest / scale_top) * low_levels


def _affine_levels(groups: Tensor, step: Tensor, shift: Tensor, *, top: int) -> Tensor:
    return _over(groups + shift, step).round().clamp(0, top) * step - shift


def _search_affine(
    groups: Tensor,
    importance: Tensor,
    *,
    top: int,
    first: float,
    steps: int,
    absolute_error: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the scale and negated minimum of each group with the least weighted error (make_qkx2_quants)."""
    x = _elements_first(groups)
    high = x.amax(0)
    best_low = x.amin(0).clamp(max=0)
    constant = high == best_low
    sum_w, sum_x = _sum_in_order(torch.stack((importance, importance * x), 1))

    def rounded(levels_in_spread: float) -> Tensor:
        # From the best minimum so far, not the group's: the reference overwrites `min` when a try wins.
        per_weight = divide(levels_in_spread, high - best_low)
        return (x - best_low).mul_(per_weight).round_().clamp_(0, top)

    def error(levels: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
        off = (scale * levels).add_(minimum).sub_(x)
        off = off.abs_() if absolute_error else off.square_()
        return _sum_in_order(off.mul_(importance))

    best_scale = 1 / divide(top, high - best_low)
    best = error(rounded(top), best_scale, best_low)
    for step in range(steps + 1):
        levels = rounded(_in_float32(first, step, top))
        of_levels = importance * levels
        terms = torch.stack((of_levels, of_levels * levels, of_levels * x), 1)
        sum_l, sum_l2, sum_xl = _sum_in_order(terms)
        determinant = sum_w * sum_l2 - sum_l * sum_l
        scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
        minimum = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
        positive = minimum > 0
        minimum = torch.where(positive, 0.0, minimum)
        scale = torch.where(positive, sum_xl / sum_l2, scale)
        found = error(levels, scale, minimum)
        better = (determinant > 0) & (found < best)
        best = torch.where(better, found, best)
        best_scale = torch.where(better, scale, best_scale)
        best_low = torch.where(better, minimum, best_low)
    # A constant group divided by its zero spread above: nothing of that is better than its start.
    shape = (*groups.shape[:-1], 1)
    return torch.where(constant, 0.0, best_scale).view(shape), (-best_low).view(shape)


def _in_float32(first: float, step: int, top: int) -> float:
    """Return first + 0.1 x step + top, each operation rounded to float32."""
    tenths = numpy.float32(0.1) * numpy.float32(step)
    return float(numpy.float32(first) + tenths + numpy.float32(top))


def _search_symmetric(groups: Tensor, *, half: int) -> Tensor:
    """Scale of each group from 19 tries, error weighted by x squared (make_qx_quants, rmse_type = 1)."""
    x, extreme, empty = _with_extreme(groups)
    importance = x.square()
    weighted = importance * x

    def terms(levels: Tensor) -> Tensor:
        return torch.stack((weighted * levels, importance * levels * levels), 1)

    multipliers = [-half, *(-_in_float32(0.0, step, half) for step in range(-9, 10) if step != 0)]
    tries = (x * divide(multiplier, extreme) for multiplier in multipliers)
    found = _best_scale((levels.round_().clamp_(-half, half - 1) for levels in tries), terms)
    return torch.where(empty, 0.0, found).view(*groups.shape[:-1], 1)


def _with_extreme(groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return elements first, the value of largest magnitude of each group, and which groups count as zero.

    The extreme of those is 1.
    """
    extreme = first_extreme(groups).flatten()
    empty = extreme.abs() < _ZERO_GROUP
    return _elements_first(groups), torch.where(empty, 1.0, extreme), empty


def _best_scale(tries: Iterable[Tensor], terms: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the scale of each group with the least error over tries of levels, the first of equals.

    `terms` gives `[elements, 2, all groups]`: what to add for the products of weight and level, and of level
    and level.
    """
    best_scale = best = torch.zeros(())
    for levels in tries:
        sum_xl, sum_l2 = _sum_in_order(terms(levels))
        scale = _over(sum_xl, sum_l2)
        better = (sum_l2 > 0) & (sum_xl * sum_xl > best * sum_l2)
        best_scale = torch.where(better, scale, best_scale)
        best = torch.where(better, scale * sum_xl, best)
    return best_scale


def _search_by_descent(groups: Tensor, *, half: int) -> Tensor:
    """Return the scale of each group after five rounds of changing one level at a time (make_q3_quants)."""
    x, extreme, empty = _with_extreme(groups)
    importance = x.square()
    weighted = importance * x
    levels = (x * divide(-half, extreme)).round_().clamp_(-half, half - 1)
    sum_xl, sum_l2 = _sum_in_order(torch.stack((weighted * levels, importance * levels * levels), 1))
    for _ in range(5):
        changed = torch.zeros((), dtype=torch.bool)
        for x_i, weighted_i, importance_i, level in zip(x, weighted, importance, levels, strict=True):
            rest_xl = sum_xl - weighted_i * level
            rest_l2 = sum_l2 - importance_i * level * level
            proposed = (x_i * rest_l2 / rest_xl).round_().clamp_(-half, half - 1)
            new_xl = rest_xl + weighted_i * proposed
            new_l2 = rest_l2 + importance_i * proposed * proposed
            better = (rest_xl > 0) & (proposed != level) & (new_l2 > 0)
            better &= new_xl * new_xl * sum_l2 > sum_xl * sum_xl * new_l2
            level.copy_(torch.where(better, proposed, level))
            sum_xl = torch.where(better, new_xl, sum_xl)
            sum_l2 = torch.where(better, new_l2, sum_l2)
            changed |= better.any()
        if not changed:
            break
    return torch.where(empty, 0.0, _over(sum_xl, sum_l2)).view(*groups.shape[:-1], 1)


def _level_table() -> Tensor:
    """Return the nearest non-linear level to i / 2 - 128 + any fraction of a half, for i from 0 to 511."""
    levels = torch.tensor(_IQ4_LEVELS, dtype=torch.float32)
    middles = (levels[1:] + levels[:-1]) / 2
    return levels[torch.bucketize(torch.arange(512) / 2 - 128, middles, right=True)]


_IQ4_NEAREST = _level_table()


def _nearest_levels(x: Tensor) -> Tensor:
    """Return the nearest of the 16 non-linear levels; halfway goes to the higher one, as in best_index_int8.

    All halfway points are multiples of a half, so the half-unit a value falls in decides.
    """
    return _IQ4_NEAREST[(x * 2).floor_().clamp_(-256, 255).add_(256).to(torch.int32)]


def _search_levels(groups: Tensor) -> Tensor:
    """Scale of each group from 16 tries, error weighted by x squared (quantize_row_iq4_nl_impl, ntry = 7)."""
    x, extreme, empty = _with_extreme(groups)
    importance = x.square()

    def terms(levels: Tensor) -> Tensor:
        of_levels = importance * levels
        return torch.stack((of_levels * x, of_levels * levels), 1)

    lowest = _IQ4_LEVELS[0]
    multipliers = (1 / (-extreme / lowest), *(divide(lowest + step, extreme) for step in range(-7, 8)))
    found = _best_scale((_nearest_levels(x * multiplier) for multiplier in multipliers), terms)
    return torch.where(empty, 0.0, found).view(*groups.shape[:-1], 1)


QUANTIZERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "IQ4_NL": iq4_nl,
    "IQ4_XS": iq4_xs,
    "Q2_K": q2_k,
    "Q3_K": q3_k,
    "Q4_K": q4_k,
    "Q5_K": q5_k,
    "Q6_K": q6_k,
}
