"""What a model's users get, as rows of text: by runtime, and by device."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from reports.text.wording import NOT_KNOWN, decode_text
from sizer.audience import Reach
from sizer.prediction import Prediction
from sizer.units import format_bytes, format_seconds

DEVICE_COLUMNS = ("device", "share", "fits", "decode, tokens/s (range)", "ready in")
CSV_COLUMNS = (
    *("runtime", "format", "device", "share_percent", "fits"),
    *("decode_tokens_per_s", "decode_low_tokens_per_s", "decode_high_tokens_per_s"),
    *("download_bytes", "load_s"),
)
_FITS = {True: "yes", False: "no", None: "not known"}


def columns(rate: float, line: float) -> tuple[str, ...]:
    """Return headings of the rows by runtime, for a decode speed and a line in Mbit/s."""
    return (
        *("runtime", "format", "fits", f"≥ {rate:g} tokens/s", "surely"),
        *("download", f"at {line:g} Mbit/s", "ready in"),
    )


def share_text(share: float | None) -> str:
    """Return a share as a percentage.

    >>> share_text(0.7), share_text(None)
    ('70 %', '-')
    """
    return NOT_KNOWN if share is None else f"{100 * share:.0f} %"


def load_text(load: Prediction | None) -> str:
    """Return the seconds of a load with the high end of their range."""
    return NOT_KNOWN if load is None else f"{format_seconds(load.value)} (up to {format_seconds(load.high)})"


def runtime_rows(found: Sequence[Reach], rate: float, line: float) -> list[tuple[str, ...]]:
    """Return one row a runtime, in the order of `columns`."""
    rows = []
    for one in found:
        size, wait, load = one.download_bytes(), one.download_s(line), one.load_s()
        answers = (
            (one.fits(), one.is_fast(rate), one.is_fast(rate, surely=True)) if one.estimates else (0.0,) * 3
        )
        rows.append(
            (
                one.runtime,
                one.format,
                *map(share_text, answers),
                NOT_KNOWN if size is None else format_bytes(size),
                NOT_KNOWN if wait is None else format_seconds(wait),
                load_text(load),
            )
        )
    return rows


def device_rows(one: Reach) -> list[tuple[str, ...]]:
    """Return one row a device, in the order of DEVICE_COLUMNS."""
    return [
        (
            sized.device.title if sized.device else NOT_KNOWN,
            share_text(share),
            _FITS[sized.fits],
            decode_text(sized.latency.decode_tokens_per_s) if sized.latency else NOT_KNOWN,
            format_seconds(sized.latency.load_s.value) if sized.latency else NOT_KNOWN,
        )
        for sized, share in zip(one.estimates, one.shares, strict=True)
    ]


def users_csv(found: Sequence[Reach]) -> str:
    """Return every runtime on every device as CSV, in the order of CSV_COLUMNS; unknown numbers are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for one in (each for each in found if each.estimates):  # others cannot run the model on these devices
        for sized, share in zip(one.estimates, one.shares, strict=True):
            decode = sized.latency.decode_tokens_per_s if sized.latency else None
            load = sized.latency.load_s.value if sized.latency else None
            speeds = (None,) * 3 if decode is None else (decode.value, decode.low, decode.high)
            name = sized.device.name if sized.device else ""
            row = (one.runtime, one.format, name, 100 * share, _FITS[sized.fits], *speeds)
            writer.writerow((*row, one.download_bytes(), load))
    return text.getvalue()
