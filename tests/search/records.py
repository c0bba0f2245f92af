"""Trial records built by hand for tests of storage, runner and budget."""

from __future__ import annotations

from dataclasses import replace

from search.store.results import Candidate, ProxyResult, TrialRecord, TrialStatus
from sizer.architecture import Architecture
from sizer.prediction import Basis, Prediction

TINY = Architecture(
    name="2x64 2/1h ff160",
    vocab_size=256,
    num_layers=2,
    hidden_size=64,
    intermediate_size=160,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
)


def proxy(bits: float = 2.0, *, status: TrialStatus = TrialStatus.COMPLETE, steps: int = 10) -> ProxyResult:
    """A training result with that score."""
    done = status is TrialStatus.COMPLETE
    return ProxyResult(
        status=status,
        val_bits_per_byte=bits if done else None,
        val_bits_per_byte_sd=0.01 if done else None,
        val_bits_per_byte_full=bits - 0.01 if done else None,
        num_parameters=100_000,
        steps=steps,
        trained_tokens=steps * 1024,
        wall_s=1.5,
        seed=0,
    )


def record(number: int = 0, *, bits: float = 2.0, size: int = 100_000, layers: int = 2) -> TrialRecord:
    """A trained trial of that score and file size."""
    return TrialRecord(
        number=number,
        candidate=Candidate(architecture=replace(TINY, num_layers=layers), format="Q4_0"),
        num_parameters=100_000,
        file_bytes=size,
        memory_bytes=10 * size,
        decode_tokens_per_s=Prediction(value=100.0, low=80.0, high=125.0, basis=Basis.FITTED),
        proxy=proxy(bits),
    )
