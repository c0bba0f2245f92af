"""sizer: exact size, memory, speed and energy of small language models that need not exist yet."""

from __future__ import annotations

from sizer.architecture import (
    Architecture,
    BlockNorms,
    LayerSharing,
    MlpKind,
    NormKind,
    PositionKind,
    SharingStrategy,
)
from sizer.errors import SizerError
from sizer.tensors import TensorSpec, count_parameters, tensor_specs

__all__ = [
    "Architecture",
    "BlockNorms",
    "LayerSharing",
    "MlpKind",
    "NormKind",
    "PositionKind",
    "SharingStrategy",
    "SizerError",
    "TensorSpec",
    "count_parameters",
    "tensor_specs",
]
__version__ = "0.1.0"
