"""FFN sizes that grow or shrink with depth: one number, the last layer's over the first's, and back.

As OpenELM has them (arXiv 2404.14619, section 2.1): linear over the layers, here with the mean that a model
of equal layers would have, so that its file stays as large.
"""

from __future__ import annotations

from dataclasses import replace

from sizer.architecture import Architecture


def grown_sizes(mean: int, layers: int, growth: float, multiple: int) -> tuple[int, ...]:
    """Return FFN sizes of layers, multiples of a number, whose sum is that of as many of the mean.

    Sizes are linear before they are rounded; of those rounded down the largest remainders get one step more.

    >>> grown_sizes(256, 4, 3.0, 32)
    (128, 224, 288, 384)
    """
    steps = mean // multiple * layers
    slopes = [1 + (growth - 1) * layer / max(layers - 1, 1) for layer in range(layers)]
    wanted = [max(1.0, steps * slope / sum(slopes)) for slope in slopes]
    whole = [int(size) for size in wanted]
    by_remainder = sorted(range(layers), key=lambda i: (whole[i] - wanted[i], -slopes[i]))
    for layer in by_remainder[: max(0, steps - sum(whole))]:
        whole[layer] += 1
    while sum(whole) > steps:  # small sizes were raised to one step
        whole[whole.index(max(whole))] -= 1
    return tuple(size * multiple for size in whole)


def with_growth(architecture: Architecture, growth: float, multiple: int) -> Architecture:
    """Return the model with FFN sizes that grow over depth; as it is where it must have one size.

    So it must where layers are too few or shared, or have windows, convolutions or experts: llama.cpp's
    models for these have one size.
    """
    a = architecture
    other = a.sliding_layers or a.conv_layers or a.num_experts
    if growth == 1 or a.num_layers < 2 or a.sharing.repeat > 1 or other:
        return a
    return with_sizes(a, grown_sizes(a.intermediate_size, a.num_layers, growth, multiple))


def with_sizes(architecture: Architecture, sizes: tuple[int, ...]) -> Architecture:
    """Return the model with these FFN sizes; equal ones are no sizes by layer."""
    by_layer = sizes if len(set(sizes)) > 1 else ()
    return replace(architecture, intermediate_size=max(sizes), layer_intermediate_sizes=by_layer)


def with_step(architecture: Architecture, step: int) -> Architecture:
    """Return the model with one FFN size larger by a step, the smallest, or smaller, the largest.

    Without sizes by layer it is that of all layers. No size shrinks below a step.
    """
    sizes = list(architecture.layer_intermediate_sizes) or [architecture.intermediate_size]
    at = sizes.index(max(sizes) if step < 0 else min(sizes))
    sizes[at] = max(sizes[at] + step, abs(step))
    return with_sizes(architecture, tuple(sizes))


def growth_of(architecture: Architecture) -> float:
    """Return the FFN size of the last layer over that of the first."""
    sizes = architecture.layer_intermediate_sizes
    return sizes[-1] / sizes[0] if sizes else 1.0


def mean_ffn_size(architecture: Architecture) -> float:
    """Return the mean FFN size of the layers; of experts, that of all that a token uses."""
    sizes = architecture.layer_intermediate_sizes
    return sum(sizes) / len(sizes) if sizes else float(architecture.active_mlp_width)
