"""Text that a GGUF file writes after a prompt, in llama.cpp, in a separate process with a time limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from search.export.llamacpp_scores import OnProgress, ask, context_of, is_unicode
from sizer.errors import InvalidQuantity

SCHEMA = "sizer.generate/1"
MAX_TOKENS = 4096
MAX_TEMPERATURE = 10.0
MAX_PROMPT = 20_000  # characters


class Generated(NamedTuple):
    """What a model wrote after a prompt, the number of its tokens, and "length" or "stop"."""

    prompt: str
    text: str
    tokens: int
    finish: str

    def to_dict(self) -> dict[str, Any]:
        """Return the document of schema sizer.generate/1."""
        return {"schema": SCHEMA, **self._asdict()}


def generate(
    path: Path,
    prompt: str,
    *,
    tokens: int = 200,
    temperature: float = 0.8,
    seed: int = 0,
    threads: int = 1,
    limit_s: float | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Generated:
    """Return what the file's model writes after a prompt of which it reads what its context holds.

    InvalidFile for a file that is no GGUF, MeasurementError if the engine fails on it or takes longer than
    `limit_s`.
    """
    if not 1 <= tokens <= MAX_TOKENS:
        raise InvalidQuantity(f"tokens: must be from 1 to {MAX_TOKENS:,}, got {tokens:,}")
    if not 0 <= temperature <= MAX_TEMPERATURE:
        raise InvalidQuantity(f"temperature: must be from 0 to {MAX_TEMPERATURE:g}, got {temperature:g}")
    if len(prompt) > MAX_PROMPT:
        raise InvalidQuantity(f"prompt: must have at most {MAX_PROMPT:,} characters, got {len(prompt):,}")
    if not is_unicode(prompt):
        raise InvalidQuantity(f"prompt: is not Unicode text, got {prompt[:20]!a}; accepted: UTF-8")
    asked = {"prompt": prompt, "tokens": tokens, "temperature": temperature, "seed": seed}
    (answer,) = ask(
        path,
        "prompts",
        [asked],
        context_tokens=context_of(path),
        threads=threads,
        limit_s=limit_s,
        on_progress=on_progress,
    )
    return Generated(prompt, answer["text"], answer["tokens"], answer["finish"])
