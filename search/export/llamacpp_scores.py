"""Scores of a GGUF file from llama.cpp itself, in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from math import isfinite, log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.export.llamacpp_library import library_path
from sizer.calibration.worker import why
from sizer.errors import MeasurementError
from sizer.readers.gguf_header import read_gguf

if TYPE_CHECKING:
    from search.text.corpus import ValidationChunks

OnProgress = Callable[[int, int], None]

_WORKER = Path(__file__).with_name("llamacpp_worker.py")


MAX_CONTEXT = 4096  # tokens that are held at once, of files that name more


def context_of(path: Path) -> int:
    """Return the context to load a file with: the one that it names. InvalidFile if it is no GGUF file."""
    header = read_gguf(path)
    length = header.metadata.get(f"{header.architecture_name}.context_length")
    return min(length, MAX_CONTEXT) if isinstance(length, int) and length > 0 else MAX_CONTEXT


def is_unicode(text: str) -> bool:
    """Return whether a text has no half of a surrogate pair, which cannot be given to an engine."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _nothing(done: int, total: int) -> None:
    pass


def ask(
    path: Path,
    kind: str,
    items: Sequence[Any],
    *,
    context_tokens: int,
    threads: int = 1,
    on_progress: OnProgress = _nothing,
    limit_s: float | None = None,
) -> list[Any]:
    """Return the worker's answers to items of a kind (llamacpp_worker.py lists them), in their order.

    MeasurementError if the engine cannot load the file, crashes on it, or takes longer than `limit_s`.
    """
    library_path()
    request = {
        "model": str(path.resolve()),
        "threads": threads,
        "context_tokens": context_tokens,
        kind: list(items),
    }
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as question:
        question.write(json.dumps(request).encode())
        question.seek(0)
        answers: list[Any] | None = None
        # -P: nothing is imported from the worker's folder
        with subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            stdin=question,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process:
            assert process.stdout is not None
            late = threading.Event()
            timer = threading.Timer(limit_s or 0.0, _end, (process, late))
            if limit_s is not None:
                timer.start()
            try:
                for line in process.stdout:
                    document = _document(line)
                    answers = document.get("answers", answers)
                    if "done" in document:
                        on_progress(document["done"], document["total"])
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
        if late.is_set():
            raise MeasurementError(f"llama.cpp: {str(path)!r} gave no answer within {limit_s:g} s")
        if answers is None or process.returncode:
            errors.seek(0)
            said = _reason(process.returncode, errors.read().decode(errors="replace"))
            raise MeasurementError(f"llama.cpp: {str(path)!r} cannot be run: {said}")
    return answers


def _end(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    process.kill()


def _document(line: str) -> dict[str, Any]:
    """Return a line of the worker's; nothing of one that an aborting engine prints."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(code: int, errors: str) -> str:
    """Return the engine's own reason where it has one: it comes before the exception or the signal."""
    for mark in ("error loading model: ", "GGML_ASSERT"):
        if mark in errors:
            line = errors[errors.index(mark) :].splitlines()[0]
            return line.removeprefix("error loading model: ")[:200]
    return why(code, errors)


def finite(path: Path, nats: float) -> float:
    """Return a sum of logarithms; MeasurementError where the file's weights give none."""
    if not isfinite(nats):
        raise MeasurementError(f"llama.cpp: {str(path)!r} gives probabilities that are no numbers (NaN)")
    return nats


def validation_bits_per_byte(
    path: Path, chunks: ValidationChunks, *, threads: int = 1, on_progress: OnProgress = _nothing
) -> float:
    """Return bits per byte of all chunks together, from llama.cpp's own logits."""
    windows = chunks.windows.tolist()
    context = -(-chunks.windows.shape[1] // 256) * 256
    answers = ask(path, "windows", windows, context_tokens=context, threads=threads, on_progress=on_progress)
    nats = -sum(
        float(logarithm)
        for line, sizes in zip(answers, chunks.scored_bytes.tolist(), strict=True)
        for logarithm, size in zip(line, sizes, strict=True)
        if size > 0
    )
    return finite(path, nats) / log(2) / int(chunks.num_bytes.sum())
