"""How an engine uses a model: one file per runtime, looked up by name here."""

from __future__ import annotations

from sizer.errors import UnknownName
from sizer.runtimes.base import Runtime
from sizer.runtimes.llamacpp import LlamaCpp

RUNTIMES: dict[str, Runtime] = {runtime.name: runtime for runtime in (LlamaCpp(),)}


def runtime(name: str) -> Runtime:
    """The runtime of that name, ignoring case; an unknown one lists what is known."""
    found = RUNTIMES.get(name.strip().lower())
    if found is None:
        raise UnknownName.of("runtime", name, RUNTIMES)
    return found
