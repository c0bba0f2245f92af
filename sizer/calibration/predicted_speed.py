"""A measured speed and its prediction without it, for whoever draws or counts them; standard library only."""

from __future__ import annotations

from math import exp
from typing import Generic, NamedTuple, Protocol, TypeVar


class PrintedSpeed(Protocol):
    """What is printed with a published speed."""

    @property
    def device(self) -> str:
        """Return the device's name."""

    @property
    def runtime(self) -> str:
        """Return the runtime's name."""

    @property
    def backend(self) -> str:
        """Return the backend, such as cpu."""

    @property
    def model(self) -> str:
        """Return the model as printed."""

    @property
    def format(self) -> str:
        """Return the format as printed."""

    @property
    def source(self) -> str:
        """Return where it is printed."""

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Return the tokens per second of decoding, None if not printed."""

    @property
    def prefill_tokens_per_s(self) -> float | None:
        """Return the tokens per second of reading a prompt, None if not printed."""


RowT_co = TypeVar("RowT_co", bound=PrintedSpeed, covariant=True)


class PredictedSpeed(NamedTuple, Generic[RowT_co]):
    """A measured speed, its prediction without the rows of its model, and the range."""

    row: RowT_co
    basis: str
    error: float  # log(predicted / measured)
    limit: float  # log of the range's factor: low and high are that far from the prediction
    of_prompt: bool = False  # of reading a prompt, else of decoding

    @property
    def inside(self) -> bool:
        """True if the measured speed lies in the range."""
        return abs(self.error) <= self.limit + 1e-12

    @property
    def measured(self) -> float:
        """Return the published tokens per second."""
        rate = self.row.prefill_tokens_per_s if self.of_prompt else self.row.decode_tokens_per_s
        assert rate is not None
        return rate

    @property
    def predicted(self) -> float:
        """Return the predicted tokens per second."""
        return self.measured * exp(self.error)

    @property
    def low(self) -> float:
        """Return the lower end of the range in tokens per second."""
        return self.predicted / exp(self.limit)

    @property
    def high(self) -> float:
        """Return the upper end of the range in tokens per second."""
        return self.predicted * exp(self.limit)
