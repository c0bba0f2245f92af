"""Compare a GGUF file with what was promised of it: bytes, score, memory and speed in llama.cpp itself."""

from __future__ import annotations

from pathlib import Path

from search.export.llamacpp_scores import OnProgress, validation_bits_per_byte
from search.export.verification import (
    Verification,
    VerifiedQuantity,
    exact,
    memory_row,
    row,
    speed_rows,
    text_of,
    uncompared,
)
from sizer.architecture import Architecture
from sizer.calibration.llamacpp_bench import measure_in_process
from sizer.calibration.resident import resident_bytes
from sizer.calibration.samples import timed_model
from sizer.calibration.timings import Timing, TimingTask
from sizer.devices.device import Device
from sizer.errors import InvalidFile, SizerError
from sizer.formats.stored import StoredTensor
from sizer.model_estimate import Estimate, estimate
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_header import GgufHeader, read_gguf
from sizer.runtimes import runtime
from sizer.workload import Workload

# Bits per byte that llama.cpp's score may differ from the promised one: its kernels round activations to 8
# bits; without that, sums of float32, in an order that differs between processors (1.1e-5 was seen).
SCORE_TOLERANCE = 5e-4
EXACT_SCORE_TOLERANCE = 2e-5
_EXACT_FORMATS = ("F32",)

_PROMPT_TOKENS, _GENERATED_TOKENS, _REPEATS = 64, 32, 5


def verify_file(
    path: Path,
    *,
    device: Device | None = None,
    threads: int = 1,
    quick: bool = False,
    on_progress: OnProgress | None = None,
) -> Verification:
    """Compare a GGUF or .pte file with its own promises and the calculator's answer.

    With `quick` nothing is run in the engine. A file that was not exported by sizer has no promised score.
    Raises InvalidFile for another file, MeasurementError if the engine is missing or fails on the file.
    """
    if path.suffix.lower() == ".pte":
        from search.export.verify_executorch import verify_executorch

        return verify_executorch(path, device=device, threads=threads, quick=quick)
    header = read_gguf(path)
    architecture = architecture_from_gguf(header)
    engine = runtime("llama.cpp")
    file_type = header.file_type
    if file_type not in engine.formats:
        raise InvalidFile(f"general.file_type: {file_type} in {str(path)!r}; accepted: a format of llama.cpp")
    assert file_type is not None
    stored = tuple(engine.store(architecture, file_type))
    rows = [*_byte_rows(header, architecture, file_type, stored)]
    if quick:
        return Verification(path, tuple(rows))
    rows.append(_score_row(path, header, file_type, threads, on_progress))
    rows.extend(_engine_rows(path, architecture, file_type, stored, device, threads))
    return Verification(path, tuple(rows))


def _byte_rows(
    header: GgufHeader, architecture: Architecture, file_type: str, stored: tuple[StoredTensor, ...]
) -> tuple[VerifiedQuantity, VerifiedQuantity]:
    tensors = sum(tensor.num_bytes for tensor in stored)
    promised = _number(header, "sizer.file_bytes")
    if promised is not None:
        file = exact("file_bytes", promised, header.file_bytes)
    else:
        counted = runtime("llama.cpp").file_bytes(architecture, stored)
        note = "range of known tokenizers"
        file = row("file_bytes", counted.total, counted.low, counted.high, header.file_bytes, note)
    held = [tensor.num_bytes for tensor in header.tensors]
    measured = None if None in held else sum(size for size in held if size is not None)
    return file, exact("tensor_bytes", tensors, measured, note=file_type)


def _score_row(
    path: Path, header: GgufHeader, file_type: str, threads: int, on_progress: OnProgress | None
) -> VerifiedQuantity:
    promised = _number(header, "sizer.val_bits_per_byte")
    if promised is None:
        return uncompared("val_bits_per_byte", None, "the file names no score: sizer did not export it")
    try:
        corpus, chunks, seq_len = text_of(header.metadata)
    except SizerError as error:
        return uncompared("val_bits_per_byte", promised, str(error))
    windows = corpus.val_chunks(chunks, seq_len)
    measured = validation_bits_per_byte(
        path, windows, threads=threads, on_progress=on_progress or (lambda done, total: None)
    )
    tolerance = EXACT_SCORE_TOLERANCE if file_type in _EXACT_FORMATS else SCORE_TOLERANCE
    return row("val_bits_per_byte", promised, promised - tolerance, promised + tolerance, measured)


def _engine_rows(
    path: Path,
    architecture: Architecture,
    file_type: str,
    stored: tuple[StoredTensor, ...],
    device: Device | None,
    threads: int,
) -> list[VerifiedQuantity]:
    model = timed_model(path.name, architecture, stored, file_bytes=path.stat().st_size)
    # the engine takes no more than the context that the file names
    prompt = min(_PROMPT_TOKENS, architecture.max_position_embeddings // 2)
    task = TimingTask(path, model, prompt, min(_GENERATED_TOKENS, max(2, prompt // 2)), _REPEATS)
    timing = measure_in_process(task, threads)
    workload = Workload(
        context_tokens=task.context_tokens,
        prompt_tokens=task.prompt_tokens,
        generated_tokens=task.generated_tokens,
    )
    rows = [_memory_row(architecture, stored, workload, timing)]
    speed: Estimate | None = None
    if device is not None:
        speed = estimate(
            architecture=architecture,
            format=file_type,
            runtime="llama.cpp",
            workload=workload,
            device=device,
        )
    why = "no --device with a profile of this machine" if device is None else ""
    return [*rows, *speed_rows(task, timing, speed.latency if speed is not None else None, why)]


def _memory_row(
    architecture: Architecture, stored: tuple[StoredTensor, ...], workload: Workload, timing: Timing
) -> VerifiedQuantity:
    """Return the memory held, without pages of the engine's code: anonymous memory and the mapped file."""
    held = timing.anonymous_bytes
    mapped = sum(tensor.num_bytes for tensor in stored)
    return memory_row(resident_bytes(architecture, stored, workload), None if held is None else held + mapped)


def _number(header: GgufHeader, key: str) -> float | int | None:
    value = header.metadata.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
