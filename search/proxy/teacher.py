"""Knowledge distillation: a small proxy also learns the next-byte probabilities of a larger trained one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from search.proxy.checkpoint import load_checkpoint
from search.proxy.model import Decoder
from sizer.architecture import Architecture
from sizer.errors import InvalidFile, SizerError
from sizer.hf_config import architecture_from_config

# Share of the distance to the teacher in what is minimised; the rest is the text's own cross-entropy.
WEIGHT = 0.5


class Teacher:
    """A trained decoder that is asked, never changed."""

    def __init__(self, model: Decoder, *, dtype: torch.dtype) -> None:
        self._model = model.requires_grad_(False)
        self._model.compute_dtype = dtype

    @property
    def architecture(self) -> Architecture:
        """Its shape."""
        return self._model.architecture

    def losses(self, student: Decoder, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of the text in nats, and that mixed with the distance to the teacher.

        The distance is the Kullback-Leibler divergence of the student's next-token probabilities from the
        teacher's at temperature 1 (Hinton et al., arXiv 1503.02531).
        """
        logits = student(windows[:, :-1])
        with torch.no_grad():
            known = F.log_softmax(self._model(windows[:, :-1]), dim=-1)
        told = F.log_softmax(logits, dim=-1)
        text = F.nll_loss(told.transpose(1, 2), windows[:, 1:])
        distance = F.kl_div(told, known, reduction="sum", log_target=True) / windows[:, 1:].numel()
        return text, (1 - WEIGHT) * text + WEIGHT * distance


def load_teacher(
    path: Path,
    *,
    vocab_size: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Teacher:
    """The decoder of a checkpoint that a search left; InvalidFile where it holds none, or of other tokens."""
    tensors, meta = load_checkpoint(path)
    try:
        model = Decoder(architecture_from_config(meta["config"], path.stem))
        weights = {n.removeprefix("weight."): t for n, t in tensors.items() if n.startswith("weight.")}
        model.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError, SizerError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidFile(f"teacher: {str(path)!r} holds no trained proxy: {reason}") from None
    known = model.architecture.vocab_size
    if known != vocab_size:
        raise InvalidFile(f"teacher: {str(path)!r} must have a vocabulary of {vocab_size}, got {known}")
    if meta.get("rounding"):
        raise InvalidFile(f"teacher: {str(path)!r} was trained rounded to few bits; accepted: 3 bits or more")
    return Teacher(model.to(device), dtype=dtype)
