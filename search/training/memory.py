"""Memory of a training run: recognize that it ran out, predict what a run needs, move batches to a card."""

from __future__ import annotations

import torch
from torch import Tensor

from sizer.architecture import Architecture
from sizer.training import Precision, TrainingPlan, training_memory

OUT_OF_MEMORY = "out of memory"  # reason of a run that ended so

# Of a card, that each process takes for its CUDA context and libraries: an allowance, not measured here.
_PROCESS_BYTES = 600 * 2**20


def is_out_of_memory(error: BaseException) -> bool:
    """Return True for a failed allocation; on the CPU torch raises a plain RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)


def predicted_bytes(architecture: Architecture, *, batch_size: int, seq_len: int) -> int:
    """Predict the bytes of a card that one worker takes to train a model: the step's peak and its process.

    The step is counted as the calculator counts one of transformers' code under autocast, with attention that
    keeps no scores; the logits that it holds whole are cut into chunks here, so that less is needed.
    """
    plan = TrainingPlan(sequence_tokens=seq_len, batch_size=batch_size, precision=Precision.AMP)
    return training_memory(architecture, plan).total_bytes + _PROCESS_BYTES


def moved(windows: Tensor, device: torch.device, *, pinned: bool) -> Tensor:
    """Return a batch on a device; pinned batches are copied while the device still computes."""
    return windows.pin_memory().to(device, non_blocking=True) if pinned else windows.to(device)
