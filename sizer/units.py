"""Counts, bytes, seconds: parsing and formatting; the only place that knows 1000 from 1024."""

from __future__ import annotations

import re

from sizer.errors import InvalidQuantity

COUNT_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
BYTE_UNITS = {
    "": 1,
    "B": 1,
    **{f"{p}B": 1000**i for i, p in enumerate("KMGT", start=1)},
    **{f"{p}IB": 1024**i for i, p in enumerate("KMGT", start=1)},
}
_SECONDS = {"": 1, "MS": 1e-3, "S": 1, "M": 60, "MIN": 60, "H": 3600}
_NUMBER = re.compile(r"\s*((?:\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*")
_TOKENS = re.compile(r"\s*([+-]?\d{1,18})\s*([kK]?)\s*")


def _parse(text: str, field: str, scales: dict[str, float] | dict[str, int], accepted: str) -> float:
    match = _NUMBER.fullmatch(text)
    scale = scales.get(match[2].upper()) if match else None
    if match is None or scale is None:
        raise InvalidQuantity(f"{field}: cannot read {text!r}; accepted: {accepted}")
    return float(match[1].replace("_", "")) * scale


def _whole(text: str, value: float, field: str) -> int:
    if value < 1 or value > 2**63:
        raise InvalidQuantity(f"{field}: must be between 1 and 2**63, got {text!r}")
    return round(value)


def parse_count(text: str, field: str = "count") -> int:
    """Parse a whole number such as "125M", "1.2B", "500k" or "124_635_456" (powers of ten).

    >>> parse_count("125M")
    125000000
    """
    value = _parse(text, field, COUNT_UNITS, "a number with K, M, B or T, such as 125M or 1.2B")
    return _whole(text, value, field)


def parse_tokens(text: str, field: str = "context") -> int:
    """Parse tokens of a context: a whole number, or with k in 1024s as model cards name them.

    >>> parse_tokens("4096"), parse_tokens("128k")
    (4096, 131072)
    """
    if not (match := _TOKENS.fullmatch(text)):
        raise InvalidQuantity(f"{field}: cannot read {text!r}; accepted: whole tokens, such as 4096 or 128k")
    return int(match[1]) * (1024 if match[2] else 1)


def parse_bytes(text: str, field: str = "size") -> int:
    """Parse bytes: KB, MB, GB are powers of 1000, KiB, MiB, GiB powers of 1024.

    >>> parse_bytes("60MB"), parse_bytes("350 MiB")
    (60000000, 367001600)
    """
    accepted = "a number with B, KB, MB, GB (x1000) or KiB, MiB, GiB (x1024), such as 60MB"
    return _whole(text, _parse(text, field, BYTE_UNITS, accepted), field)


def parse_gib(text: str, field: str = "ram") -> float:
    """Parse the RAM of a device in GiB: it is sold in powers of 1024, so "4GB" means 4 GiB.

    >>> parse_gib("4GB"), parse_gib("512MB")
    (4.0, 0.5)
    """
    scales = {unit: 1024.0**power for power, unit in ((2, "MB"), (2, "MIB"), (3, "GB"), (3, "GIB"), (3, "G"))}
    value = _parse(text, field, scales, "a number with GB or MB, such as 4GB")
    return _whole(text, value, field) / 1024**3


def parse_seconds(text: str, field: str = "duration") -> float:
    """Parse seconds from text such as "90s", "5m", "1.5h" or "250ms".

    >>> parse_seconds("5m")
    300.0
    """
    value = _parse(text, field, _SECONDS, "a number with ms, s, m or h, such as 90s or 5m")
    if value <= 0:
        raise InvalidQuantity(f"{field}: must be more than 0, got {text!r}")
    return value


def _scaled(value: float, base: int, suffixes: tuple[str, ...]) -> str:
    size = float(value)
    for suffix in suffixes:
        # 999.95 would print as 1000.0: go on to the next unit instead
        if abs(size) < base * 0.99995 or suffix == suffixes[-1]:
            # past the last unit all whole digits are printed: ".4g" would turn to 1e+04
            digits = f"{size:.4g}" if size < 9999.5 else f"{size:.0f}"
            return f"{digits} {suffix}" if suffix else digits
        size /= base
    raise AssertionError("unreachable: the last suffix always returns")


def format_count(value: int) -> str:
    """Count to four digits with a decimal suffix, for people.

    >>> format_count(124635456)
    '124.6M'
    """
    return _scaled(value, 1000, ("", "K", "M", "B", "T")).replace(" ", "")


def format_bytes(value: float) -> str:
    """Format bytes to four digits in decimal units (as download sizes are printed).

    >>> format_bytes(91_234_567)
    '91.23 MB'
    """
    return _scaled(value, 1000, ("B", "KB", "MB", "GB", "TB"))


def format_bytes_binary(value: float) -> str:
    """Format bytes to four digits in binary units (as memory is printed).

    >>> format_bytes_binary(367001600)
    '350 MiB'
    """
    return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def format_rate(value: float) -> str:
    """Format a rate to three digits, without an exponent.

    >>> format_rate(0.4217), format_rate(12.34), format_rate(1240.4)
    ('0.422', '12.3', '1,240')
    """
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def format_seconds(value: float) -> str:
    """Format seconds as "12 ms", "3.4 s", "5m 07s" or "2h 05m".

    >>> format_seconds(307)
    '5m 07s'
    """
    if value < 0.9995:
        return f"{value * 1000:.3g} ms"
    if value < 59.95:
        return f"{value:.3g} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"
