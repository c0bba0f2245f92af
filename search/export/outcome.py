"""What every export shares: what was written and checked, whose file it is, and the errors of a disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum, unique
from pathlib import Path
from typing import Any

from search.export.card import model_card
from search.export.finalist import TrainedFinalist
from sizer.errors import InvalidFile, InvalidQuantity

MAX_CONTEXT = 1_000_000


@unique
class Target(StrEnum):
    """What an export makes of trained weights."""

    HUGGING_FACE = "hf"
    GGUF = "gguf"
    EXECUTORCH = "executorch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An export: what was written, its bytes as predicted and as they are, and what was checked."""

    path: Path
    target: Target
    study: str
    trial: int
    seed: int
    format: str | None  # None: float32
    file_bytes: int
    predicted_bytes: int  # of the file, or of a folder's model.safetensors
    bits_per_byte: float  # of the weights as exported
    checks: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the document of `sizer export --json`."""
        return {
            "schema": "sizer.export/1",
            "path": str(self.path),
            "to": self.target.value,
            "study": self.study,
            "trial": self.trial,
            "seed": self.seed,
            "format": self.format,
            "file_bytes": self.file_bytes,
            "predicted_bytes": self.predicted_bytes,
            "val_bits_per_byte": self.bits_per_byte,
            "checks": list(self.checks),
        }


def context_of(finalist: TrainedFinalist, asked: int | None) -> int:
    """Return the context to write: what was trained, unless another is asked for."""
    if asked is None:
        return finalist.context_tokens
    if not 1 <= asked <= MAX_CONTEXT:
        raise InvalidQuantity(f"context: must be from 1 to {MAX_CONTEXT}, got {asked}")
    return asked


def exported(
    f: TrainedFinalist,
    path: Path,
    target: Target,
    *,
    file_bytes: int,
    predicted_bytes: int,
    checks: tuple[str, ...],
) -> Exported:
    """Return what was written of a finalist."""
    is_float = target is Target.HUGGING_FACE
    return Exported(
        path=path,
        target=target,
        study=f.result.study,
        trial=f.record.number,
        seed=f.seed,
        format=None if is_float else f.format,
        file_bytes=file_bytes,
        predicted_bytes=predicted_bytes,
        bits_per_byte=f.bits_per_byte if is_float else f.deployed_bits_per_byte,
        checks=checks,
    )


def identity_of(f: TrainedFinalist) -> dict[str, str | int]:
    """Return what identifies an export: study, trial, seed and text."""
    return {
        "sizer.study": f.result.study,
        "sizer.trial": f.record.number,
        "sizer.seed": f.seed,
        "sizer.corpus_digest": f.corpus_digest,
    }


def check_ours(found: dict[str, Any] | None, identity: dict[str, str | int], path: Path) -> None:
    """Raise InvalidFile unless what was found at a path is the identity of this model's export."""
    if found is None or any(found.get(key) != value for key, value in identity.items()):
        raise InvalidFile(
            f"out: {str(path)!r} exists and is not an export of this model; accepted: another --out"
        )


def checked_card(f: TrainedFinalist, path: Path, *, context_tokens: int, file_bytes: int) -> tuple[Path, str]:
    """Return where a file's card belongs, and its text; InvalidFile if another file is there."""
    card = path.with_suffix(".md")
    text = model_card(f, context_tokens=context_tokens, files={path.name: file_bytes})
    if card.exists() and _first_line(card) != text.split("\n")[0]:
        raise InvalidFile(
            f"out: {str(card)!r}, the card's name, exists and is not of this model; accepted: another --out"
        )
    return card, text


@contextmanager
def complete_or_absent(*paths: Path) -> Iterator[None]:
    """Turn an error of the disk into one line; of files that belong together none is left that is new."""
    new = [path for path in paths if not path.exists()]
    try:
        yield
    except OSError as error:
        for path in new:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise cannot_write(paths[0], error) from None


def _first_line(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(1000).rstrip("\n")
    except (OSError, UnicodeDecodeError):
        return None


def score_check(f: TrainedFinalist) -> str:
    """Return the note on the score that was made again."""
    found = (
        f"recomputed {f.recomputed:.5f} bits per byte from the weights, the study stored "
        f"{f.run.val_bits_per_byte_full:.5f}"
    )
    seeds = sum(run.rung == f.run.rung for run in f.record.runs)
    return found if seeds == 1 else f"{found} (of seed {f.seed}; a frontier shows the mean of {seeds})"


def context_note(f: TrainedFinalist, context: int) -> str:
    """Return the note on the context that was written."""
    if context == f.context_tokens:
        return f"context {context}: as trained; --context writes another"
    return f"context {context}: trained on windows of {f.context_tokens}, beyond which it predicts worse"


def cannot_write(path: Path, error: OSError) -> InvalidFile:
    """Return the error of a path that cannot be written, in one line."""
    return InvalidFile(f"out: cannot write {str(path)!r}: {error.strerror or error}")
