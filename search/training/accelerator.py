"""Where proxies are trained: this machine's processor, or an accelerator that torch drives."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from sizer.errors import InvalidQuantity, UnknownName

PROCESSOR = "cpu"
TRAIN_ON = (PROCESSOR, "cuda", "mps")
# Cards that CUDA shows a process; read when torch starts.
VISIBLE_CARDS = "CUDA_VISIBLE_DEVICES"


def training_device(name: str) -> torch.device:
    """Return the torch device of a name of TRAIN_ON.

    Raises UnknownName for another name, InvalidQuantity if this machine or build of torch has no such device.
    """
    if name not in TRAIN_ON:
        raise UnknownName.of("train_on", name, TRAIN_ON)
    here = available()
    if name not in here:
        raise InvalidQuantity(f"train_on: {name!r} is not there; accepted here: {', '.join(here)}")
    if name == "cuda":
        # float32 products with the mantissa of ten bits that TF32 has would blur scores
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(name)


def available() -> tuple[str, ...]:
    """Return the names of TRAIN_ON that this machine has."""
    here = [PROCESSOR]
    if torch.cuda.is_available():
        here.append("cuda")
    if torch.backends.mps.is_available():
        here.append("mps")
    return tuple(here)


def cards(name: str) -> tuple[str, ...]:
    """Return this machine's cards as CUDA_VISIBLE_DEVICES names them; none where training is not on CUDA."""
    if name != "cuda" or not torch.cuda.is_available():
        return ()
    visible = os.environ.get(VISIBLE_CARDS, "")
    named = tuple(card for card in visible.split(",") if card)
    return named or tuple(str(number) for number in range(torch.cuda.device_count()))


def card_bytes(names: Sequence[str]) -> dict[str, int]:
    """Return the memory of this machine's cards, in the order in which CUDA numbers them."""
    return {card: torch.cuda.get_device_properties(number).total_memory for number, card in enumerate(names)}


def numerics(name: str) -> dict[str, str]:
    """Return what a study records of an accelerator's arithmetic; nothing for the processor."""
    if name == PROCESSOR:
        return {}
    return {"tf32": "off", "deterministic": "no: the same seed need not give the same bits"}


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return True if the device has fast bfloat16 products; graphics processors before 2020 emulate them."""
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
