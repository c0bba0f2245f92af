"""Objectives of a search next to the loss, which always counts: what a model costs where it is deployed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique

from sizer.units import format_bytes, format_bytes_binary, format_seconds

# With more, nearly every model is on the frontier.
MOST_OBJECTIVES = 3


@unique
class Objective(StrEnum):
    """What accuracy is paid for with, by its name on the command line; all but `decode` are minimised."""

    BYTES = "bytes"
    DOWNLOAD = "download"
    MEMORY = "memory"
    DECODE = "decode"
    TTFT = "ttft"
    ENERGY = "energy"

    @property
    def key(self) -> str:
        """Its name in records, tables and documents, with the unit."""
        return _WORDS[self].key

    @property
    def label(self) -> str:
        """Its name in text."""
        return _WORDS[self].label

    @property
    def maximised(self) -> bool:
        """True if more is better."""
        return self is Objective.DECODE

    @property
    def needs_device(self) -> bool:
        """True if it cannot be predicted without a device."""
        return self in (Objective.DECODE, Objective.TTFT, Objective.ENERGY)

    def text(self, value: float) -> str:
        """Format a value with its unit."""
        return _WORDS[self].text(value)

    def minimised(self, value: float) -> float:
        """Return a positive figure of which less is better: decode speed as seconds per token."""
        return 1 / value if self.maximised else value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    key: str
    label: str
    text: Callable[[float], str]


def _tokens(value: float) -> str:
    return f"{value:.3g} tokens/s"


def _joules(value: float) -> str:
    return f"{1e3 * value:.3g} mJ/token"


_WORDS = {
    Objective.BYTES: _Words(key="file_bytes", label="deployed file size", text=format_bytes),
    Objective.DOWNLOAD: _Words(key="download_bytes", label="first download", text=format_bytes),
    Objective.MEMORY: _Words(key="memory_bytes", label="memory while running", text=format_bytes_binary),
    Objective.DECODE: _Words(key="decode_tokens_per_s", label="decode speed", text=_tokens),
    Objective.TTFT: _Words(key="time_to_first_token_s", label="time to first token", text=format_seconds),
    Objective.ENERGY: _Words(key="joules_per_token", label="energy per token", text=_joules),
}
