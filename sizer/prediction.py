"""Prediction: a value with a range and the basis it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class Basis(StrEnum):
    """Where a predicted figure comes from, strongest first."""

    MEASURED = "measured"  # constants measured on this very device by `sizer calibrate`
    FITTED = "fitted"  # constants fitted to published measurements of such a device
    SPECIFICATION = "specification"  # the device's data sheet and a fit over other devices

    @property
    def label(self) -> str:
        """The basis in words, such as "fitted to benchmarks"."""
        return _LABELS[self]


_LABELS = {
    Basis.MEASURED: "measured here",
    Basis.FITTED: "fitted to benchmarks",
    Basis.SPECIFICATION: "from the data sheet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A predicted figure; [low, high] is meant to hold 80 % of the time for this basis."""

    value: float
    low: float
    high: float
    basis: Basis

    def __post_init__(self) -> None:
        assert 0 <= self.low <= self.value <= self.high, self

    def inverse(self, numerator: float) -> Prediction:
        """Return numerator / this: seconds per token as tokens per second, and back."""
        return Prediction(
            value=numerator / self.value,
            low=numerator / self.high,
            high=numerator / self.low,
            basis=self.basis,
        )

    def to_dict(self) -> dict[str, float | str]:
        """Return the four fields as plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high, "basis": self.basis.value}
