"""Compare a .pte file with the promises next to it: bytes, score, memory and speed in ExecuTorch itself."""

from __future__ import annotations

from pathlib import Path

from search.export.executorch import ENGINE, read_promises, validation_bits_per_byte
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
from sizer.calibration.executorch_bench import measure_in_process
from sizer.calibration.samples import timed_model
from sizer.calibration.timings import TimingTask
from sizer.devices.device import Device
from sizer.errors import InvalidFile, SizerError
from sizer.families.hf_config import architecture_from_config
from sizer.formats import executorch
from sizer.model_estimate import estimate
from sizer.runtimes import runtime
from sizer.workload import Workload

# Bits per byte that ExecuTorch's score may differ from the promised one: its rows of activations are rounded
# in another order.
SCORE_TOLERANCE = 0.01
_GENERATED_TOKENS, _REPEATS = 16, 5


def verify_executorch(
    path: Path, *, device: Device | None = None, threads: int = 1, quick: bool = False
) -> Verification:
    """Compare a .pte file; with `quick` nothing is run. InvalidFile without its promises."""
    promises = read_promises(path)
    try:
        architecture = architecture_from_config(promises["config"], promises["name"])
        format_name, context, chunk = (
            promises[key] for key in ("sizer.format", "context_tokens", "chunk_tokens")
        )
        promised, score = promises["sizer.file_bytes"], float(promises["sizer.val_bits_per_byte"])
        size = path.stat().st_size
    except OSError as error:
        raise InvalidFile(f"PATH: cannot read {str(path)!r}: {error.strerror or error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidFile(f"promises: of {str(path)!r} cannot be read ({error})") from None
    engine = runtime(ENGINE)
    stored = engine.store(architecture, engine.format_name(format_name))
    counted = executorch.file_bytes(architecture, stored, context).total
    rows = [exact("file_bytes", counted, size, note="" if counted == promised else f"promised {promised:,}")]
    if quick:
        return Verification(path, tuple(rows))
    try:
        corpus, chunks, length = text_of(promises)
    except SizerError as error:
        rows.append(uncompared("val_bits_per_byte", score, str(error)))
    else:
        measured = validation_bits_per_byte(path, corpus.val_chunks(chunks, length), threads=threads)
        rows.append(
            row("val_bits_per_byte", score, score - SCORE_TOLERANCE, score + SCORE_TOLERANCE, measured)
        )
    load = Workload(
        context_tokens=context,
        prompt_tokens=min(chunk, context // 2),
        generated_tokens=min(_GENERATED_TOKENS, context // 2),
        ubatch_tokens=chunk,
        cache_type="F32",
    )
    model = timed_model(path.name, architecture, stored, file_bytes=size, cache_type="F32")
    task = TimingTask(path.resolve(), model, load.prompt_tokens, load.generated_tokens, _REPEATS)
    timing = measure_in_process(task, threads)
    rows.append(memory_row(engine.memory(architecture, stored, load).total_bytes, timing.resident_bytes))
    latency, why = None, "no --device with a profile of this machine"
    if device is not None:
        sized = estimate(
            architecture=architecture, format=format_name, runtime=ENGINE, workload=load, device=device
        )
        latency, why = sized.latency, ""
    found: list[VerifiedQuantity] = [*rows, *speed_rows(task, timing, latency, why)]
    return Verification(path, tuple(found))
