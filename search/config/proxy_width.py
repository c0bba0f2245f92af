"""Widths that a scaled proxy may have."""

from __future__ import annotations

from search.config.fields import FieldLimits

# Of hidden_size, intermediate_size and head_dim: a matrix of 16 x 16 holds one block of 256 weights, so that
# every matrix divides into the blocks of any format.
WIDTH_STEP = 16

# Width of a proxy over that of the model.
WIDTH_SCALES = FieldLimits(low=0, high=1, above=True)
