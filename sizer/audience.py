"""Users as devices with shares: on how many of them a model fits, is fast enough, and when it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sizer.architecture import Architecture
from sizer.devices.device import Device
from sizer.errors import InvalidQuantity, SizerError
from sizer.model_estimate import Estimate, estimate
from sizer.prediction import Prediction
from sizer.runtimes import runtime as runtime_by_name
from sizer.workload import Workload

# Runtimes of a page in a visitor's browser, and of an application on a phone or computer.
IN_BROWSER = ("web-llm", "transformers.js-webgpu", "transformers.js")
IN_APPLICATION = ("llama.cpp", "litert-lm", "executorch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a model's users get from one runtime: an estimate for each device, with the device's share.

    `shares` sum to 1. Without estimates `reason` holds why the runtime cannot run the model.
    """

    runtime: str
    format: str
    shares: tuple[float, ...]
    estimates: tuple[Estimate, ...]
    reason: str = ""

    def fits(self) -> float | None:
        """Return the share of users on whose devices the model fits; None if it is known for no device."""
        return self._share([sized.fits for sized in self.estimates])

    def is_fast(self, tokens_per_s: float, *, surely: bool = False) -> float | None:
        """Return the share of users who get that decode speed; None if no speed is known.

        `surely` counts the low end of each 80 % range in place of the expected speed.
        """
        speeds = [sized.latency and sized.latency.decode_tokens_per_s for sized in self.estimates]
        return self._share(
            [
                None
                if speed is None and sized.fits is not False
                else speed is not None and (speed.low if surely else speed.value) >= tokens_per_s
                for speed, sized in zip(speeds, self.estimates, strict=True)
            ]
        )

    def speed_unknown(self) -> float:
        """Return the share of users for whose devices no speed is known although the model fits."""
        unknown = (s.latency is None and s.fits is not False for s in self.estimates)
        return sum(share for share, one in zip(self.shares, unknown, strict=False) if one)

    def download_bytes(self) -> int | None:
        """Return the bytes of a first visit: weights, tokenizer and engine; None if not known."""
        known = [sized.first_download for sized in self.estimates]
        return known[0].num_bytes if known and known[0] is not None else None

    def download_s(self, mbit_per_s: float) -> float | None:
        """Return the seconds of the first visit's download over a line of that speed."""
        known = [sized.first_download for sized in self.estimates]
        return known[0].seconds(mbit_per_s) if known and known[0] is not None else None

    def load_s(self) -> Prediction | None:
        """Return the seconds from the file on the device to the model, on the median user's device."""
        if not self.estimates:
            return None
        loads = [
            (sized.latency.load_s, share)
            for sized, share in zip(self.estimates, self.shares, strict=True)
            if sized.latency is not None
        ]
        total, so_far = sum(share for _, share in loads), 0.0
        for predicted, share in sorted(loads, key=lambda pair: pair[0].value):
            so_far += share
            if so_far >= total / 2:
                return predicted
        return None

    def _share(self, answers: Sequence[bool | None]) -> float | None:
        if all(answer is None for answer in answers):
            return None
        return sum(share for share, answer in zip(self.shares, answers, strict=True) if answer)


def reach(
    model: Architecture,
    users: Sequence[tuple[Device, float]],
    *,
    runtime: str,
    format: str | None = None,
    context_tokens: int = 2048,
) -> Reach:
    """Estimate a model for users given as devices with shares of any sum above 0.

    `format` is by default what the runtime's users mean by 4 bits. A runtime that cannot run the model gives
    a Reach without estimates, which holds the reason.
    """
    total = sum(share for _, share in users)
    if not users or total <= 0 or any(share < 0 for _, share in users):
        raise InvalidQuantity("shares: must be numbers of at least 0, one of them above 0, for each device")
    engine = runtime_by_name(runtime)
    name = engine.format_for_bits(4) if format is None else engine.format_name(format)
    shares = tuple(share / total for _, share in users)
    workload = Workload.within(context_tokens, engine.cache_types[0])
    try:
        sized = tuple(
            estimate(architecture=model, format=name, runtime=engine.name, workload=workload, device=one)
            for one, _ in users
        )
    except SizerError as error:
        return Reach(runtime=engine.name, format=name, shares=shares, estimates=(), reason=str(error))
    reason = sized[0].unsupported.get("weights", "")
    return Reach(
        runtime=engine.name,
        format=name,
        shares=shares,
        estimates=() if reason else sized,
        reason=reason,
    )
