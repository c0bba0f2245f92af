"""Which runtimes have a format that the one asked for has not."""

from __future__ import annotations

from sizer.errors import UnknownName
from sizer.runtimes import RUNTIME_NAMES, runtime


def with_other_runtimes(error: UnknownName, format_name: str) -> UnknownName:
    """Return the error for an unknown format with the runtimes that have one of that name, if any do."""
    wanted = format_name.strip().lower()
    able = [name for name in RUNTIME_NAMES if wanted in map(str.lower, runtime(name).formats)]
    if not able:
        return error
    reason, separator, known = str(error).partition("; ")
    return UnknownName(f"{reason}; a format of {', '.join(able)} (--runtime){separator}{known}")
