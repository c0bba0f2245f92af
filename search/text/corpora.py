"""One text in the tokens of every vocabulary that a search compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from search.config.config import Tokenizer
from search.text.corpus import Corpus, in_tokens, read_corpus


class TextInTokens(Protocol):
    """A text, in the tokens of one vocabulary or of several."""

    def of(self, vocab_size: int) -> Corpus:
        """Return the text in the tokens of models with that many rows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpora:
    """A text by the rows of the models that learn it: each vocabulary has its own tokenizer."""

    by_rows: Mapping[int, Corpus]

    def of(self, vocab_size: int) -> Corpus:
        """Return the text in the tokens of models with that many rows."""
        if len(self.by_rows) == 1:
            return next(iter(self.by_rows.values()))
        return self.by_rows[vocab_size]

    @property
    def first(self) -> Corpus:
        """The text in the smallest vocabulary."""
        return self.by_rows[min(self.by_rows)]

    @property
    def name(self) -> str:
        """Name of the text."""
        return self.first.name

    @property
    def digest(self) -> str:
        """Hash of the text and of every tokenizer."""
        if len(self.by_rows) == 1:
            return self.first.digest
        digests = "\0".join(self.by_rows[rows].digest for rows in sorted(self.by_rows))
        return sha256(digests.encode()).hexdigest()

    @property
    def vocab_size(self) -> int:
        """Number of different tokens of the largest vocabulary."""
        return max(corpus.vocab_size for corpus in self.by_rows.values())


def load_corpora(source: str, *, tokenizers: Mapping[int, str], cache: Path | None) -> Corpora:
    """Load a text, as `load_corpus` does, in the tokens of each vocabulary: its rows and what a token is."""
    read = read_corpus(source)
    return Corpora(
        by_rows={
            rows: read.corpus if tokenizer == Tokenizer.BYTE else in_tokens(read, rows, cache)
            for rows, tokenizer in tokenizers.items()
        }
    )
