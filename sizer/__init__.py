"""sizer: exact size, memory, speed and energy of small language models that need not exist yet.

    import sizer
    sizer.estimate("SmolLM2-135M", bits=4, device="galaxy-s24", context=4096)

`estimate`, `compare`, `solve` and `search` take what the commands take; see their docstrings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sizer.api import compare, estimate, solve
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
    from sizer.model_estimate import Estimate
    from sizer.request import EstimateRequest
    from sizer.tensors import TensorSpec, count_parameters, tensor_specs

__all__ = [
    "Architecture",
    "BlockNorms",
    "Estimate",
    "EstimateRequest",
    "LayerSharing",
    "MlpKind",
    "NormKind",
    "PositionKind",
    "SharingStrategy",
    "SizerError",
    "TensorSpec",
    "compare",
    "count_parameters",
    "estimate",
    "search",
    "solve",
    "tensor_specs",
]
__version__ = "0.1.0"

# Name: its module. Loaded when it is first asked for: importing any module of sizer imports this one.
_MODULES = {
    **dict.fromkeys(("compare", "estimate", "solve"), "sizer.api"),
    **dict.fromkeys(("Architecture", "BlockNorms", "LayerSharing", "MlpKind"), "sizer.architecture"),
    **dict.fromkeys(("NormKind", "PositionKind", "SharingStrategy"), "sizer.architecture"),
    **dict.fromkeys(("TensorSpec", "count_parameters", "tensor_specs"), "sizer.tensors"),
    "Estimate": "sizer.model_estimate",
    "EstimateRequest": "sizer.request",
    "SizerError": "sizer.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'sizer' has no attribute {name!r}")
    found = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def search(name: str, storage: str | None = None) -> Any:
    """Read the results of a search back: a `search.store.results.SearchResult`.

    `name` is the study's, `storage` an Optuna storage URL, by default `runs/sizer.db` where it runs.
    Needs the extra `search`. Raises SizerError where there is no such study.
    """
    from sizer.extras import missing_extra

    try:
        # a room above this one, which a calculator alone may lack
        read_study = import_module("search.store.study").read_study
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None
    return read_study(name, storage)
