"""Knowledge distillation: a small proxy also learns the next-token probabilities of a larger trained one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from search.training.decoder import Decoder
from search.training.kept_weights import load_weights
from sizer.errors import InvalidFile, SizerError

# Share of the distance to the teacher in the objective; the rest is the text's own cross-entropy.
WEIGHT = 0.5


class Teacher:
    """A trained decoder whose predictions are learned; its weights are frozen."""

    def __init__(self, model: Decoder, *, dtype: torch.dtype) -> None:
        self._model = model.requires_grad_(False)
        self._model.compute_dtype = dtype

    def losses(self, student: Decoder, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the text's mean cross-entropy in nats, and its mix with the distance to the teacher.

        The distance is the Kullback-Leibler divergence of the student's next-token probabilities from the
        teacher's at temperature 1 (Hinton et al., arXiv 1503.02531).
        """
        logits = student(windows[:, :-1])
        with torch.no_grad():
            known = F.log_softmax(self._model(windows[:, :-1]), dim=-1)
        predicted = F.log_softmax(logits, dim=-1)
        text = F.nll_loss(predicted.transpose(1, 2), windows[:, 1:])
        distance = F.kl_div(predicted, known, reduction="sum", log_target=True) / windows[:, 1:].numel()
        return text, (1 - WEIGHT) * text + WEIGHT * distance


def load_teacher(
    path: Path,
    *,
    vocab_size: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Teacher:
    """Load the decoder of a search's checkpoint; InvalidFile if it has none, or one of another vocabulary."""
    try:
        kept = load_weights(path)
        model = Decoder(kept.architecture)
        model.load_state_dict(dict(kept.weights))
    except (RuntimeError, SizerError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidFile(f"teacher: {str(path)!r} holds no trained proxy: {reason}") from None
    known = model.architecture.vocab_size
    if known != vocab_size:
        raise InvalidFile(f"teacher: {str(path)!r} must have a vocabulary of {vocab_size}, got {known}")
    if kept.rounded:
        raise InvalidFile(f"teacher: {str(path)!r} was trained rounded to few bits; accepted: 3 bits or more")
    return Teacher(model.to(device), dtype=dtype)
