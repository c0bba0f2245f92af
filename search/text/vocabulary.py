"""The tokens of a study's text, spelled as byte-level BPE files spell them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from search.config.config import BYTE_VOCABULARY
from search.text.tokenizer import byte_characters
from sizer.errors import InvalidFile
from sizer.formats.gguf_metadata import FIXED_ENTRIES_BYTES, Entry, byte_level_entries, encoded

# A byte that no UTF-8 text has: generation never meets it, so it can end texts.
_NEVER_BYTE = 0xFF


class Vocabulary(NamedTuple):
    """Tokens in the characters of GPT-2's vocabularies, merges ("a b") by rank, JSON of the tokenizer."""

    tokens: tuple[str, ...]
    merges: tuple[str, ...]
    tokenizer_json: str

    @property
    def end_token(self) -> int:
        """Number of the token of byte 0xFF, which no text has."""
        return self.tokens.index(byte_characters()[_NEVER_BYTE])

    @property
    def newline_token(self) -> int:
        """Number of the token of a line's end alone."""
        return self.tokens.index(byte_characters()[ord("\n")])

    def entries(self, vocab_size: int) -> tuple[Entry, ...]:
        """Return the tokenizer's metadata in a GGUF file of a model with that many rows."""
        return byte_level_entries(self.tokens, self.merges, end_token=self.end_token, vocab_size=vocab_size)

    def metadata_bytes(self, vocab_size: int) -> int:
        """Return the bytes of all metadata of an exported GGUF file, whatever the shape and the names."""
        return FIXED_ENTRIES_BYTES + len(encoded(self.entries(vocab_size)))


def vocabulary_of(tokenizer_json: str | None) -> Vocabulary:
    """Return the vocabulary of a byte-level BPE's JSON; of single bytes, each its own number, for None."""
    text = _byte_tokenizer() if tokenizer_json is None else tokenizer_json
    try:
        model = json.loads(text)["model"]
        numbers: dict[str, int] = model["vocab"]
        merges = tuple(m if isinstance(m, str) else " ".join(m) for m in model["merges"])
        tokens = tuple(sorted(numbers, key=numbers.__getitem__))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidFile(f"tokenizer: not a byte-level BPE: {error}") from None
    return Vocabulary(tokens, merges, text)


def _byte_tokenizer() -> str:
    """Return the JSON of a tokenizer without merges: tokens are bytes, numbered by their values."""
    characters = byte_characters()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {characters[byte]: byte for byte in range(BYTE_VOCABULARY)},
            "merges": [],
        },
    }
    return json.dumps(document, ensure_ascii=False)
