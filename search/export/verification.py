"""What is compared of an exported file: quantities with their ranges, speeds and memory of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from search.text.corpus import Corpus, load_corpus
from sizer.calibration.timings import Timing, TimingTask
from sizer.devices.latency import Latency
from sizer.errors import InvalidFile

SCHEMA = "sizer.verify/1"

# Memory may differ by the larger of these: a process's small allocations are not counted.
MEMORY_SHARE, MEMORY_BYTES = 0.05, 5 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedQuantity:
    """A quantity as predicted, with its range, and as measured; `agrees` None where it is not compared."""

    quantity: str
    predicted: float | None
    low: float | None
    high: float | None
    measured: float | None
    note: str = ""

    @property
    def agrees(self) -> bool | None:
        """True if the measured value is inside the range."""
        if self.measured is None or self.low is None or self.high is None:
            return None
        return self.low <= self.measured <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Return a row of the document of schema sizer.verify/1."""
        return {
            "quantity": self.quantity,
            "predicted": self.predicted,
            "low": self.low,
            "high": self.high,
            "measured": self.measured,
            "agrees": self.agrees,
            "note": self.note,
        }


class Verification(NamedTuple):
    """A file and all its comparisons."""

    path: Path
    rows: tuple[VerifiedQuantity, ...]

    @property
    def agrees(self) -> bool:
        """True if nothing that was compared disagrees."""
        return all(row.agrees is not False for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the document of schema sizer.verify/1."""
        return {"schema": SCHEMA, "path": str(self.path), "rows": [row.to_dict() for row in self.rows]}


def text_of(promises: Mapping[str, Any]) -> tuple[Corpus, int, int]:
    """Return the text a file was scored on, the number of its chunks and their length; SizerError if gone."""
    name, tokenizer, digest = (
        promises.get(f"sizer.{key}") for key in ("corpus", "tokenizer", "corpus_digest")
    )
    vocabulary, chunks, length = (
        promises.get(f"sizer.{key}") for key in ("vocab_size", "val_chunks", "seq_len")
    )
    if not isinstance(name, str) or not isinstance(tokenizer, str):
        raise InvalidFile("sizer.corpus: the file does not name the text it was scored on")
    if not isinstance(vocabulary, int) or not isinstance(chunks, int) or not isinstance(length, int):
        raise InvalidFile("sizer.corpus: the file does not name the text it was scored on")
    corpus = load_corpus(name, tokenizer=tokenizer, vocab_size=vocabulary)
    if corpus.digest != digest:
        raise InvalidFile(f"sizer.corpus: {name!r} is not the text that the file was scored on")
    return corpus, chunks, length


def speed_rows(task: TimingTask, timing: Timing, latency: Latency | None, why: str) -> list[VerifiedQuantity]:
    """Return load, prompt and decoding speed, with a device's ranges; `why` there are none."""
    measures: dict[str, Callable[[Timing], float]] = {
        "load_s": lambda t: t.load_s,
        "prefill_tokens_per_s": lambda t: task.prompt_tokens / median(t.prefill_s),
        "decode_tokens_per_s": lambda t: 1 / median(t.decode_s),
    }
    rows = []
    for quantity, of in measures.items():
        found = getattr(latency, quantity) if latency is not None else None
        busy = "" if timing.is_quiet else "other programs were running"
        rows.append(
            row(
                quantity,
                found.value if found else None,
                found.low if found else None,
                found.high if found else None,
                of(timing),
                "; ".join(text for text in (why, busy) if text),
            )
        )
    return rows


def memory_row(predicted: int, held: int | None) -> VerifiedQuantity:
    """Return the comparison of memory in bytes; a measure of None is one that the system does not have."""
    if held is None:
        return uncompared("memory_bytes", predicted, "this system has no measure of a process's own memory")
    around = max(MEMORY_SHARE * predicted, MEMORY_BYTES)
    return row("memory_bytes", predicted, max(0, predicted - around), predicted + around, held)


def exact(quantity: str, predicted: float, measured: float | None, note: str = "") -> VerifiedQuantity:
    """Return a comparison that must be equal."""
    return row(quantity, predicted, predicted, predicted, measured, note)


def uncompared(quantity: str, predicted: float | None, note: str) -> VerifiedQuantity:
    """Return a quantity that is not compared, and why."""
    return row(quantity, predicted, None, None, None, f"not compared: {note}")


def row(
    quantity: str,
    predicted: float | None,
    low: float | None,
    high: float | None,
    measured: float | None,
    note: str = "",
) -> VerifiedQuantity:
    """Return a comparison with a range."""
    return VerifiedQuantity(
        quantity=quantity, predicted=predicted, low=low, high=high, measured=measured, note=note
    )
