"""Text after a prompt: within the context, cut at the length or at the end of the text, the same by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy
import pytest

from search.export.sampling import chosen, continued

_END = 255


@dataclass
class Counting:
    """A model of bytes whose likeliest next byte is the last one plus 1; notes what it was given."""

    context_tokens: int = 8
    given: list[tuple[list[int], int]] = field(default_factory=list)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        return list(text.encode())

    def ends_text(self, token: int) -> bool:
        return token == _END

    def piece(self, token: int) -> bytes:
        return bytes([token])

    def next_logits(self, tokens: Sequence[int], position: int) -> numpy.ndarray:
        assert position + len(tokens) <= self.context_tokens
        self.given.append((list(tokens), position))
        logits = numpy.zeros(256)
        logits[(tokens[-1] + 1) % 256] = 5.0
        return logits


def test_the_likeliest_tokens_up_to_the_length() -> None:
    engine = Counting()
    found = continued(engine, "ab", 3, 0.0, 0)
    assert found == {"text": "cde", "tokens": 3, "finish": "length"}
    assert engine.given == [([97, 98], 0), ([99], 2), ([100], 3)]


def test_a_text_longer_than_the_context_goes_on_from_its_half() -> None:
    engine = Counting()
    assert continued(engine, "A", 20, 0.0, 0)["text"] == "BCDEFGHIJKLMNOPQRSTU"
    begins = [tokens for tokens, position in engine.given if position == 0]
    assert [len(tokens) for tokens in begins] == [1, 4, 4, 4]  # the last half of 8 tokens
    assert begins[1] == list(b"FGHI")


def test_of_a_long_prompt_the_end_is_read() -> None:
    engine = Counting()
    assert continued(engine, "0123456789abcdef", 1, 0.0, 0)["text"] == "g"
    assert engine.given == [(list(b"89abcdef"), 0)]


def test_a_model_that_ends_its_text_stops() -> None:
    assert continued(Counting(), "\x7f", 400, 0.0, 0)["finish"] == "stop"


def test_nothing_follows_a_lines_end() -> None:
    engine = Counting()
    continued(engine, "", 1, 0.0, 0)
    assert engine.given == [([10], 0)]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert continued(Counting(), "\x7f", 2, 0.0, 0)["text"] == "\ufffd\ufffd"


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    logits = numpy.log(numpy.array([0.1, 0.2, 0.7]))
    random = numpy.random.default_rng(0)
    counts = numpy.bincount([chosen(logits, 1.0, random) for _ in range(4000)], minlength=3) / 4000
    assert counts == pytest.approx([0.1, 0.2, 0.7], abs=0.03)
    cold = numpy.bincount([chosen(logits, 0.2, random) for _ in range(1000)], minlength=3) / 1000
    assert cold[2] > 0.99
    texts = {continued(Counting(), "a", 8, 2.0, seed)["text"] for seed in (1, 1, 2)}
    assert len(texts) == 2
