"""Energy: joules per generated token, from a device's power under load and its decoding speed."""

from __future__ import annotations

from sizer.device import Device
from sizer.latency import Latency, profiles
from sizer.prediction import Prediction


def energy(*, device: Device, latency: Latency) -> Prediction | None:
    """Joules per generated token = watts under load / tokens per second; None if the power is unknown.

    The power is the one `device.load_power_scope` names: into the board (idle share included), or at the wall
    (supply losses too). The range multiplies the speed's range by how far a device's power has been seen
    to differ from its stated one between models and engines (data/profiles.toml, power_factor).
    """
    if device.load_power_watts is None:
        return None
    joules = latency.decode_tokens_per_s.inverse(device.load_power_watts.value)
    factor = profiles().pooled.power_factor
    return Prediction(
        value=joules.value, low=joules.low / factor, high=joules.high * factor, basis=joules.basis
    )
