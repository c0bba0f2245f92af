"""Byte-level BPE, trained on a corpus's training text, with its tokens cached on disk.

The text is cut into words by GPT-2's pattern (openai/gpt-2, src/encoder.py) and every byte has a token, so
that any text can be encoded and decoded without loss. Training, by the package tokenizers, is the same on
every machine; cached tokens are used only if they decode to exactly the corpus.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from search.text.texts import character_start
from sizer.atomic_write import atomic_write
from sizer.errors import InvalidFile, SizerError

MAX_TRAINING_BYTES = 32_000_000  # of text that merges are learned from, evenly spread; 10 s

_MIN_FREQUENCY = 2  # of a pair that becomes a token
_PIECE_BYTES = 65_536  # encoded at a time; cut at a line's end, where words end as well
_BATCH_PIECES = 64
_CHECKED_TOKENS = 1 << 20  # decoded at a time

_FILES = ("tokenizer.json", "train.npy", "validation.npy")

Tokens = NDArray[Any]  # uint16 or int32 [tokens]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """A corpus in tokens."""

    tokenizer: str  # JSON of the package tokenizers
    spelling: tuple[bytes, ...]  # of each token
    train: Tokens
    validation: Tokens
    note: str | None = None  # why the tokens could not be kept on disk

    @property
    def digest(self) -> str:
        """Hash of the vocabulary and of every token of the text."""
        found = sha256()
        for token in self.spelling:
            found.update(len(token).to_bytes(4, "little") + token)
        for tokens in (self.train, self.validation):
            found.update(tokens.astype(tokens.dtype.newbyteorder("<")).data)
        return found.hexdigest()


def encoded(
    train: bytes | bytearray,
    validation: bytes | bytearray,
    *,
    vocab_size: int,
    text_digest: str,
    cache: Path | None,
) -> Encoded:
    """Encode both splits of a corpus with a vocabulary learned from the training split alone.

    With a cache directory, tokens are read from and written to it. SizerError if they must be made and the
    package tokenizers is not installed.
    """
    folder = cache / f"{text_digest[:32]}-bpe-{vocab_size}" if cache is not None else None
    if folder is not None:
        try:
            return _read(folder, train, validation)
        except InvalidFile:
            pass  # missing, of another text, or damaged: encode again
    text = train_bpe(train, vocab_size)
    spelling = spellings(text)
    kind = numpy.uint16 if len(spelling) <= 1 << 16 else numpy.int32
    made = Encoded(
        tokenizer=text,
        spelling=spelling,
        train=numpy.fromiter(encode(text, train), kind),
        validation=numpy.fromiter(encode(text, validation), kind),
    )
    assert spells(made.train, spelling, train), "training tokens do not spell the text"
    assert spells(made.validation, spelling, validation), "validation tokens do not spell the text"
    if folder is None:
        return made
    try:
        _write(folder, text, made)
    except OSError as error:
        return replace(made, note=f"tokens were not kept in {str(folder)!r}: {error.strerror or error}")
    return made


def train_bpe(text: bytes | bytearray, vocab_size: int) -> str:
    """Train a byte-level BPE of at most `vocab_size` tokens; return the JSON of the package tokenizers."""
    tokenizers = _package()
    byte_level = tokenizers.pre_tokenizers.ByteLevel
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=_MIN_FREQUENCY,
        initial_alphabet=sorted(byte_level.alphabet()),
        special_tokens=[],
        show_progress=False,
    )
    every = -(-len(text) // MAX_TRAINING_BYTES)
    chosen = (piece for number, piece in enumerate(_pieces(text)) if number % max(1, every) == 0)
    tokenizer.train_from_iterator(chosen, trainer)
    made: str = tokenizer.to_str()
    return made


def encode(tokenizer: str, text: bytes | bytearray) -> Iterator[int]:
    """Yield the token ids of a UTF-8 text."""
    made = _package().Tokenizer.from_str(tokenizer)
    batch: list[str] = []
    for piece in _pieces(text):
        batch.append(piece)
        if len(batch) == _BATCH_PIECES:
            yield from _ids(made, batch)
            batch = []
    yield from _ids(made, batch)


def _ids(tokenizer: Any, batch: list[str]) -> Iterator[int]:
    for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
        yield from encoding.ids


def spellings(tokenizer: str) -> tuple[bytes, ...]:
    """Return the bytes of each token of a byte-level BPE's JSON, by id; InvalidFile for any other file."""
    byte_of = {character: byte for byte, character in byte_characters().items()}
    try:
        vocabulary = json.loads(tokenizer)["model"]["vocab"]
        numbers = sorted(vocabulary.values())
        if numbers != list(range(len(vocabulary))):
            raise InvalidFile("tokenizer: its tokens are not numbered from 0")
        by_number = sorted(vocabulary, key=vocabulary.__getitem__)
        found = tuple(bytes(byte_of[character] for character in token) for token in by_number)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidFile(f"tokenizer: not a byte-level BPE: {error}") from None
    if not set(found) >= {bytes([byte]) for byte in range(256)}:
        raise InvalidFile("tokenizer: not every byte has a token")
    return found


def byte_characters() -> dict[int, str]:
    """Return the printable character for each byte in GPT-2's vocabularies (bytes_to_unicode there).

    >>> byte_characters()[ord("a")], byte_characters()[ord(" ")]
    ('a', 'Ġ')
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)}
    others = (byte for byte in range(256) if byte not in printable)
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def spells(tokens: Tokens, spelling: tuple[bytes, ...], text: bytes | bytearray) -> bool:
    """Return whether the tokens decode to exactly this text."""
    place = 0
    for start in range(0, len(tokens), _CHECKED_TOKENS):
        block = tokens[start : start + _CHECKED_TOKENS]
        if not 0 <= block.min() <= block.max() < len(spelling):
            return False
        spelled = b"".join(map(spelling.__getitem__, block.tolist()))
        if text[place : place + len(spelled)] != spelled:
            return False
        place += len(spelled)
    return place == len(text)


def _pieces(text: bytes | bytearray) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = start + _PIECE_BYTES
        if end < len(text):
            line = text.rfind(b"\n", start, end) + 1
            end = line if line > start else character_start(text, end)
        yield text[start:end].decode("utf-8")
        start = end


def _package() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError:
        raise SizerError(
            "tokenizer: 'bpe' needs the package tokenizers (extra `bpe`), which is not installed; "
            "accepted without it: 'byte'"
        ) from None


def _read(folder: Path, train: bytes | bytearray, validation: bytes | bytearray) -> Encoded:
    """Read the files of `_write`, memory-mapped; InvalidFile unless they decode to both texts."""
    try:
        text = (folder / _FILES[0]).read_text(encoding="utf-8")
        spelling = spellings(text)
        # "c", not "r": torch warns of arrays it could not write to
        sides = [numpy.load(folder / name, mmap_mode="c", allow_pickle=False) for name in _FILES[1:]]
    except (OSError, ValueError, EOFError) as error:
        raise InvalidFile(f"tokens: {str(folder)!r} cannot be read: {error}") from None
    for tokens, side in zip(sides, (train, validation), strict=True):
        known = tokens.ndim == 1 and tokens.dtype in (numpy.dtype("uint16"), numpy.dtype("int32"))
        if not known or not spells(tokens, spelling, side):
            raise InvalidFile(f"tokens: {str(folder)!r} is of another text")
    return Encoded(tokenizer=text, spelling=spelling, train=sides[0], validation=sides[1])


def _write(folder: Path, tokenizer: str, made: Encoded) -> None:
    """Write the tokenizer and both sides of the text; processes that write at once write the same."""
    contents: tuple[str | Tokens, ...] = (tokenizer, made.train, made.validation)
    for name, content in zip(_FILES, contents, strict=True):
        with atomic_write(folder / name) as file:
            if isinstance(content, str):
                file.write(content.encode())
            else:
                numpy.save(file, content, allow_pickle=False)
