"""Where proxies are trained: this machine's processor, or an accelerator that torch drives."""

from __future__ import annotations

import torch

from sizer.errors import InvalidQuantity, UnknownName

PROCESSOR = "cpu"
TRAIN_ON = (PROCESSOR, "cuda", "mps")


def training_device(name: str) -> torch.device:
    """Return the torch device of a name of TRAIN_ON.

    Raises UnknownName for another name, InvalidQuantity if this machine or build of torch has no such device.
    """
    if name not in TRAIN_ON:
        raise UnknownName.of("train_on", name, TRAIN_ON)
    here = available()
    if name not in here:
        raise InvalidQuantity(f"train_on: {name!r} is not there; accepted here: {', '.join(here)}")
    return torch.device(name)


def available() -> tuple[str, ...]:
    """Return the names of TRAIN_ON that this machine has."""
    here = [PROCESSOR]
    if torch.cuda.is_available():
        here.append("cuda")
    if torch.backends.mps.is_available():
        here.append("mps")
    return tuple(here)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return True if the device has fast bfloat16 products; graphics processors before 2020 emulate them."""
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
