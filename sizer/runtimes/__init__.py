"""How an engine uses a model: one file per runtime, looked up by name here."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from sizer.errors import UnknownName
from sizer.runtimes.base import Runtime

# Runtime: module and class. Only the one asked for is loaded.
_RUNTIMES = {
    "llama.cpp": ("llamacpp", "LlamaCpp"),
    "bitnet.cpp": ("bitnetcpp", "BitnetCpp"),
    "executorch": ("executorch", "ExecuTorch"),
    "mlx": ("mlx", "Mlx"),
    "transformers": ("pytorch", "Transformers"),
    "transformers.js": ("browser", "TransformersJs"),
    "transformers.js-webgpu": ("browser", "TransformersJsWebGpu"),
    "web-llm": ("browser", "WebLlm"),
}

RUNTIME_NAMES = tuple(_RUNTIMES)


@cache
def _load(name: str) -> Runtime:
    module, kind = _RUNTIMES[name]
    found: Runtime = getattr(import_module(f"sizer.runtimes.{module}"), kind)()
    return found


def runtime(name: str) -> Runtime:
    """The runtime of that name, ignoring case; an unknown one lists what is known."""
    known = name.strip().lower()
    if known not in _RUNTIMES:
        raise UnknownName.of("runtime", name, RUNTIME_NAMES)
    return _load(known)
