"""Models with short convolutions in place of attention, in all layers but every Nth: LFM2's blocks.

llama.cpp's and transformers' `lfm2` is Llama but for these layers, and for norms of each head's query and key
in the others (docs/search.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from search.config.axes import Suggestion
from search.config.convolutions import Convolutions
from search.space.cycles import all_but_every, cycle_of
from sizer.architecture import Architecture, LayerSharing
from sizer.grid import Grid


def with_convolutions(architecture: Architecture, convolutions: Convolutions) -> Architecture:
    """Return the model with convolutions, and norms of query and key; as it is where it can have none.

    So it is where none is asked for, no layer is left for one, blocks are shared, which LFM2's are not, or
    they have experts.
    """
    a = architecture
    layers = all_but_every(a.num_layers, convolutions.attention_every) if convolutions.kernel else ()
    if not layers or a.sharing.repeat > 1 or a.num_experts:
        return a
    return replace(a, qk_norm=True, conv_layers=layers, conv_kernel=convolutions.kernel)


def without_sharing(suggestion: Suggestion) -> Suggestion:
    """Return a suggestion of convolutions without shared blocks, and any other as it is."""
    has_some = suggestion.convolutions.kernel > 0 and suggestion.experts.count == 1
    return replace(suggestion, sharing=LayerSharing()) if has_some else suggestion


def has_convolutions(architecture: Architecture, convolutions: Convolutions) -> bool:
    """Return whether a model has just these: of few layers several cycles may be one."""
    a = architecture
    if not convolutions.kernel:
        return not a.conv_layers
    layers = all_but_every(a.num_layers, convolutions.attention_every)
    return bool(layers) and (a.conv_kernel, a.conv_layers) == (convolutions.kernel, layers)


def convolutions_in(architecture: Architecture) -> Convolutions:
    """Return the convolutions of a model, with the shortest cycle that its layers may be of."""
    a = architecture
    if not a.conv_layers:
        return Convolutions()
    return Convolutions(kernel=a.conv_kernel, attention_every=cycle_of(a.conv_layers, a.num_layers))


def more_bytes(grid: Grid, convolutions: Convolutions, bits: float) -> NDArray[np.int64]:
    """Return about how many bytes the convolutions of models add to their files; negative where they save.

    A convolution has four matrices as wide as the model, attention two and those of its KV heads; filters and
    norms of heads are float32. Mixes give other bits to some layers: an estimate.
    """
    width, layers = grid.hidden_size, grid.num_layers
    with_attention = -(-layers // convolutions.attention_every)
    weights = 2 * width * (width - grid.num_kv_heads * grid.head_dim)
    of_each = weights * bits / 8 + 4 * convolutions.kernel * width
    found = (layers - with_attention) * of_each + with_attention * 2 * 4 * grid.head_dim
    return np.asarray(np.where(layers > with_attention, found, 0), np.int64)
