"""How an engine uses a model: one file per runtime, looked up by name here."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import import_module

from sizer.architecture import Architecture
from sizer.errors import UnknownName, shown
from sizer.runtimes.base import Runtime

# Runtime: module and class. Only the one asked for is loaded.
_RUNTIMES = {
    "llama.cpp": ("llamacpp", "LlamaCpp"),
    "bitnet.cpp": ("bitnetcpp", "BitnetCpp"),
    "executorch": ("executorch", "ExecuTorch"),
    "litert-lm": ("litertlm", "LiteRtLm"),
    "mlx": ("mlx", "Mlx"),
    "transformers": ("pytorch", "Transformers"),
    "transformers.js": ("browser", "TransformersJs"),
    "transformers.js-webgpu": ("browser", "TransformersJsWebGpu"),
    "web-llm": ("web_llm", "WebLlm"),
}

RUNTIME_NAMES = tuple(_RUNTIMES)
DEFAULT_RUNTIME = "llama.cpp"


@cache
def _load(name: str) -> Runtime:
    module, kind = _RUNTIMES[name]
    found: Runtime = getattr(import_module(f"sizer.runtimes.{module}"), kind)()
    return found


def runtime(name: str) -> Runtime:
    """Return the runtime of that name, or of a program that uses it, ignoring case; list the known ones."""
    known = name.strip().lower()
    if known in _RUNTIMES:
        return _load(known)
    from sizer.names import nearest_runtime, runtime_alias

    meant = runtime_alias(name)
    if meant is None and (nearest := nearest_runtime(name)) is not None:
        raise UnknownName(
            f"unknown runtime {shown(name)}: an engine that sizer does not model; "
            f"closest: --runtime {nearest} (weights and KV cache, other buffers); "
            f"known: {', '.join(sorted(RUNTIME_NAMES))}"
        )
    if meant is None:
        raise UnknownName.of("runtime", name, RUNTIME_NAMES)
    return _load(meant)


@lru_cache(maxsize=256)
def runtimes_that_run(architecture: Architecture) -> tuple[str, ...]:
    """Return the names of the runtimes that can hold a model in their customary format."""
    return tuple(name for name in RUNTIME_NAMES if _load(name).why_not_run(architecture) is None)
