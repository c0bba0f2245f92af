"""Text that a model writes after a prompt: token by token, within the context that the file names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy


class NextToken(Protocol):
    """A loaded model, as search.export.llamacpp_library.Engine is one."""

    context_tokens: int

    def tokenize(self, text: str, *, special: bool = True) -> list[int]: ...

    def ends_text(self, token: int) -> bool: ...

    def piece(self, token: int) -> bytes: ...

    def next_logits(self, tokens: Sequence[int], position: int) -> numpy.ndarray: ...


def continued(
    engine: NextToken,
    prompt: str,
    tokens: int,
    temperature: float,
    seed: int,
    *,
    on_token: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Return {"text", "tokens", "finish"}: what follows the prompt, its length, and "length" or "stop"."""
    # a model without a token that begins a text is given a line's end instead
    given = engine.tokenize(prompt) or engine.tokenize("\n", special=False)
    pieces: list[bytes] = []
    for token in _sampled(engine, given, temperature, numpy.random.default_rng(seed)):
        if engine.ends_text(token):
            break
        pieces.append(engine.piece(token))
        on_token(len(pieces))
        if len(pieces) >= tokens:
            break
    # a text cut inside a character ends with a replacement character
    text = b"".join(pieces).decode("utf-8", "replace")
    return {"text": text, "tokens": len(pieces), "finish": "length" if len(pieces) >= tokens else "stop"}


def _sampled(
    engine: NextToken, given: Sequence[int], temperature: float, random: numpy.random.Generator
) -> Iterator[int]:
    """Yield tokens without end; a text longer than the context continues from its second half."""
    most = engine.context_tokens
    text, fresh, position = list(given), list(given[-most:]), 0
    while True:
        if position + len(fresh) > most:
            fresh, position = text[-max(1, most // 2) :], 0
        token = chosen(engine.next_logits(fresh, position), temperature, random)
        position += len(fresh)
        text.append(token)
        fresh = [token]
        yield token


def chosen(logits: numpy.ndarray, temperature: float, random: numpy.random.Generator) -> int:
    """Return a token drawn by its probability at a temperature; the likeliest at 0."""
    if temperature <= 0:
        return int(logits.argmax())
    weights = numpy.exp((logits - logits.max()) / temperature)
    return int(random.choice(len(weights), p=weights / weights.sum()))
