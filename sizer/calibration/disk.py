"""Check of free disk space before large files are written."""

from __future__ import annotations

import shutil
from pathlib import Path

from sizer.errors import MeasurementError
from sizer.units import format_bytes

_SPARE_BYTES = 100 * 10**6


def check_space(folder: Path, num_bytes: int) -> int:
    """Return the free bytes of the folder's disk; MeasurementError if `num_bytes` do not fit."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise MeasurementError(
            f"bench models: cannot use {str(folder)!r}: {error.strerror or error}"
        ) from None
    if num_bytes + _SPARE_BYTES > free:
        raise MeasurementError(
            f"bench models: {format_bytes(num_bytes)} do not fit in {str(folder)!r}, where "
            f"{format_bytes(free)} are free; accepted: a folder with {format_bytes(num_bytes + _SPARE_BYTES)}"
        )
    return free
