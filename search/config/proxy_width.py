"""Widths and vocabularies that scaled proxies may have."""

from __future__ import annotations

from collections.abc import Sequence

from search.config.fields import FieldLimits
from sizer.errors import InvalidQuantity

# Of hidden_size, intermediate_size and head_dim: a matrix of 16 x 16 holds one block of 256 weights, so that
# every matrix divides into the blocks of any format.
WIDTH_STEP = 16

# Width of a proxy over that of the model.
WIDTH_SCALES = FieldLimits(low=0, high=1, above=True)


def check_proxies(
    width_scale: float | None, vocab_size: int | None, head_dims: Sequence[int], vocab_sizes: Sequence[int]
) -> None:
    """Raise InvalidQuantity unless models of these heads and vocabularies have proxies as asked for."""
    if width_scale is not None:
        for value in head_dims:
            if value % WIDTH_STEP:
                raise InvalidQuantity(
                    f"head_dims: must be multiples of {WIDTH_STEP} with proxy_width_scale, got {value}"
                )
    if vocab_size is not None and vocab_size > min(vocab_sizes):
        raise InvalidQuantity(
            f"proxy_vocab_size: must not exceed vocab_size, which is {min(vocab_sizes)}, got {vocab_size}"
        )
    if vocab_size is not None and len(set(vocab_sizes)) > 1:
        raise InvalidQuantity(
            f"proxy_vocab_size: proxies of one vocabulary do not compare {len(set(vocab_sizes))} of them; "
            "accepted: one vocab_size, or no proxy_vocab_size"
        )
