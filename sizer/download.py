"""Bytes that a user downloads before a first answer: weights, tokenizer, and the engine of a page or app."""

from __future__ import annotations

from typing import Any, NamedTuple

from sizer.formats.gguf import tokenizer_bytes
from sizer.formats.stored import FileBytes

# A tokenizer.json against the bytes that GGUF files keep of the same tokenizer: LiteRT-LM files that have one
# are this far above their weights (tests/data/litert_files.csv).
_JSON_SHARE = 1.2

_SPEEDS_MBIT_PER_S = (10, 50)


class FirstDownload(NamedTuple):
    """Bytes of a first visit to a page, or of an app with its model, by part."""

    weights: int
    tokenizer: int
    runtime: int

    @property
    def num_bytes(self) -> int:
        """Bytes of all parts."""
        return self.weights + self.tokenizer + self.runtime

    def seconds(self, mbit_per_s: float) -> float:
        """Return the seconds it takes over a line of that speed, in megabits a second."""
        return self.num_bytes * 8 / (mbit_per_s * 1e6)

    def to_dict(self) -> dict[str, Any]:
        """Return the parts, their sum and seconds over two lines as plain JSON values."""
        times = {f"seconds_{speed}mbit": self.seconds(speed) for speed in _SPEEDS_MBIT_PER_S}
        return {"bytes": self.num_bytes, **self._asdict(), **times}


def first_download(file: FileBytes, vocab_size: int, engine_bytes: int) -> FirstDownload:
    """Return what is downloaded of a model file, its tokenizer in it or apart, and of the engine."""
    inside = file.tokenizer_bytes
    apart = tokenizer_apart_bytes(file, vocab_size)
    return FirstDownload(file.total - inside, inside + apart, engine_bytes)


def tokenizer_apart_bytes(file: FileBytes, vocab_size: int) -> int:
    """Return the bytes of a tokenizer that is no part of the model's file; 0 where it is."""
    return 0 if file.tokenizer else round(_JSON_SHARE * tokenizer_bytes(vocab_size).value)
