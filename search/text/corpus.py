"""A corpus as tokens: its split into training and validation, and the windows for training and scoring.

A token is a byte, or one of a byte-level BPE's (search/text/tokenizer.py). Scores are bits per byte of text
in either case: windows know how many bytes each token stands for.
"""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from search.config.config import BYTE_VOCABULARY, Tokenizer
from search.text.text_files import builtin_names, file_names, holds_rows, read_files
from search.text.text_tables import HUGGING_FACE_PREFIX, hugging_face_texts
from search.text.texts import DEFAULT_FIELD, Texts, character_start, corpus_error
from search.text.tokenizer import encoded
from sizer.architecture import parse_enum
from sizer.errors import InvalidQuantity, SizerError

BUILTIN = "builtin"

MIN_VALIDATION_BYTES = 1_024  # a few windows; less would make the score's standard error meaningless
VALIDATION_SHARE = 20  # one file (or one byte of a split file) in this many

# A corpus of few files is cut instead into this many pieces, of which these become validation: 5 %, spread
# over the text, because its end is seldom like its beginning.
_PIECES = 80
_VALIDATION_PIECES = (10, 30, 50, 70)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValidationChunks:
    """Windows of validation text to score, and which of their tokens are scored."""

    windows: Tensor  # int64 [chunks, tokens + 1]
    scored_bytes: Tensor  # int64 [chunks, tokens]: bytes each next token spells; 0 where it is not scored

    @property
    def num_bytes(self) -> Tensor:
        """Bytes of text scored in each chunk, int64 `[chunks]`."""
        return self.scored_bytes.sum(1)

    def __len__(self) -> int:
        return len(self.windows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """Training and validation text, tokens `[tokens]` each; no byte of the text is in both."""

    name: str
    train: Tensor  # uint8 for bytes, else uint16 or int32
    validation: Tensor
    digest: str  # of every file used, by name and content; with BPE of every token as well
    num_files: int  # files, or rows of files that hold rows
    num_skipped: int  # binary or unreadable files, and files beyond a limit
    notes: tuple[str, ...]  # what was left out and how the split was made, for the record
    tokenizer: Tokenizer = Tokenizer.BYTE
    token_bytes: Tensor = field(  # int64 [vocabulary]: length of each token's text
        default_factory=lambda: torch.ones(BYTE_VOCABULARY, dtype=torch.int64)
    )
    tokenizer_json: str | None = None  # of the package tokenizers; None for bytes

    @property
    def vocab_size(self) -> int:
        """Number of different tokens: the smallest vocabulary that a model of this text can have."""
        return len(self.token_bytes)

    def of(self, vocab_size: int) -> Corpus:
        """Return this text, whatever the rows of a model: it has one vocabulary."""
        return self

    @property
    def bytes_per_token(self) -> float:
        """Mean length of the validation text's tokens, in bytes."""
        return self._bytes_of(self.validation) / len(self.validation)

    def _bytes_of(self, tokens: Tensor) -> int:
        return int(self.token_bytes[tokens.int()].sum())

    def val_chunks(self, num_chunks: int, seq_len: int) -> ValidationChunks:
        """Return evenly spaced, non-overlapping stretches of the validation text, the same on every call.

        A stretch is `seq_len` bytes in every vocabulary, and its place does not depend on it either: models
        of different vocabularies predict the same bytes from the same bytes before. Of tokens, those that
        lie wholly inside are scored, given those before them in the stretch and the one it begins in. Fewer
        chunks than asked for where the text holds no more, since overlapping ones would be counted twice in
        the standard error.
        """
        width = seq_len + 1
        token_bytes = self.token_bytes[self.validation.int()]
        ends = token_bytes.cumsum(0)
        num_bytes = int(ends[-1])
        available = num_bytes // width
        if available < 1:
            raise corpus_error(self.name, f"its {num_bytes} validation bytes hold no window of {width} bytes")
        count = min(num_chunks, available)
        starts = torch.arange(count) * (num_bytes - width) // max(1, count - 1)
        first = torch.searchsorted(ends, starts, right=True)  # the token that the stretch begins in
        after = torch.searchsorted(ends, starts + width, right=True)  # the first not wholly inside
        places = torch.arange(int((after - first).max()))
        index = (first[:, None] + places).clamp(max=len(ends) - 1)
        scored = torch.where(places[1:] < (after - first)[:, None], token_bytes[index[:, 1:]], 0)
        some = scored.sum(1) > 0  # one token may be longer than a short stretch
        if not some.any():
            raise corpus_error(self.name, f"no token of it lies inside a stretch of {seq_len} bytes")
        return ValidationChunks(windows=self.validation[index].long()[some], scored_bytes=scored[some])

    def train_batches(self, seed: int, batch_size: int, seq_len: int) -> TrainBatches:
        """Return windows at random places of the training text, determined by the seed alone."""
        if len(self.train) - seq_len < 1:
            unit = "bytes" if self.tokenizer is Tokenizer.BYTE else "tokens"
            raise corpus_error(
                self.name, f"its {len(self.train)} training {unit} hold no window of {seq_len + 1}"
            )
        return TrainBatches(self.train, seed, batch_size, seq_len)


class TrainBatches:
    """Training windows by step number, so that a run can resume from any step."""

    _DRAWN = 256  # steps whose places are drawn at a time

    def __init__(self, text: Tensor, seed: int, batch_size: int, seq_len: int) -> None:
        self._text, self._seed, self._batch_size = text, seed, batch_size
        self._places = len(text) - seq_len
        self._offsets = torch.arange(seq_len + 1)
        self._block, self._starts = -1, torch.zeros(0)

    def at(self, step: int) -> Tensor:
        """Return the windows of a step (from 1), int64 `[batch, seq + 1]`."""
        block, row = divmod(step - 1, self._DRAWN)
        if block != self._block:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + block)
            shape = (self._DRAWN, self._batch_size, 1)
            self._block, self._starts = block, torch.randint(self._places, shape, generator=generator)
        return self._text[self._starts[row] + self._offsets].long()


def load_corpus(
    source: str,
    *,
    tokenizer: str = Tokenizer.BYTE,
    vocab_size: int = BYTE_VOCABULARY,
    cache: Path | None = None,
) -> Corpus:
    """Load a corpus: `builtin` (this Python's library), a file, a directory or `hf:NAME`.

    `vocab_size` is for the tokenizer `bpe` only; a text too short for this number of tokens gives fewer. The
    vocabulary and tokens are cached in the directory `cache` if given. InvalidFile names why the source
    cannot be used.
    """
    chosen = parse_enum(Tokenizer, tokenizer, "tokenizer")
    read = read_corpus(source)
    return read.corpus if chosen is Tokenizer.BYTE else in_tokens(read, vocab_size, cache)


class ReadCorpus(NamedTuple):
    """A corpus in bytes, and the text of its two splits."""

    corpus: Corpus
    train: bytearray
    validation: bytearray


def read_corpus(source: str) -> ReadCorpus:
    """Read the text of a corpus and split it; InvalidFile names why the source cannot be used."""
    name, texts, wanted = _texts(source)
    if not texts.contents:
        raise corpus_error(source, texts.why_nothing(wanted))
    return _assemble(name, texts)


def _texts(source: str) -> tuple[str, Texts, str]:
    """Return the corpus's name, the texts read, and the requested field of rows."""
    if source == BUILTIN:
        root = Path(sysconfig.get_paths()["stdlib"])
        return source, read_files(root, builtin_names(root), DEFAULT_FIELD), DEFAULT_FIELD
    if source.startswith(HUGGING_FACE_PREFIX):
        name, _, wanted = source.removeprefix(HUGGING_FACE_PREFIX).partition(":")
        wanted = wanted or DEFAULT_FIELD
        return source, hugging_face_texts(HUGGING_FACE_PREFIX + name, wanted), wanted
    if not source:
        raise corpus_error(source, "it is empty")
    try:
        return _texts_at(source)
    except OSError as error:  # is_dir and is_file raise for names that are too long or may not be looked at
        raise corpus_error(source, error.strerror or str(error)) from None
    except ValueError as error:
        if isinstance(error, SizerError):
            raise
        raise corpus_error(source, str(error)) from None  # a null byte in the name


def _texts_at(source: str) -> tuple[str, Texts, str]:
    path, wanted = Path(source), ""
    if not path.exists():
        before, _, after = source.rpartition(":")
        if before and after and Path(before).exists():
            path, wanted = Path(before), after
    name = f"{path.name}:{wanted}" if wanted else path.name
    if path.is_dir():
        root, names = path, file_names(path)
    elif path.is_file():
        root, names = path.parent, [path.name]
    else:
        raise corpus_error(source, "it is not a regular file" if path.exists() else "it does not exist")
    if wanted and names and not any(map(holds_rows, names)):
        raise corpus_error(source, f"only JSONL and Parquet have a field {wanted!r}")
    return name, read_files(root, names, wanted or DEFAULT_FIELD), wanted or DEFAULT_FIELD


def _assemble(name: str, texts: Texts) -> ReadCorpus:
    """Return the corpus in bytes, and the text of its two splits."""
    hashes = {file: sha256(content).hexdigest() for file, content in texts.contents.items()}
    digest = sha256()
    for file, content_hash in sorted(hashes.items()):
        digest.update(f"{file}\0{content_hash}\n".encode("utf-8", errors="surrogateescape"))
    train, validation, how = _split(texts.contents, hashes)
    if len(validation) < MIN_VALIDATION_BYTES:
        total = len(train) + len(validation)
        least = MIN_VALIDATION_BYTES * VALIDATION_SHARE
        raise corpus_error(name, f"its {total} bytes of text are too few, at least {least} are needed")
    corpus = Corpus(
        name=name,
        train=torch.frombuffer(train, dtype=torch.uint8),
        validation=torch.frombuffer(validation, dtype=torch.uint8),
        digest=digest.hexdigest(),
        num_files=len(texts.contents),
        num_skipped=texts.num_binary + texts.num_unreadable + texts.num_beyond_limit,
        notes=(how, *texts.omissions()),
    )
    return ReadCorpus(corpus, train, validation)


def in_tokens(read: ReadCorpus, vocab_size: int, cache: Path | None) -> Corpus:
    """Return a corpus in tokens of a byte-level BPE learned from its training text."""
    corpus, train, validation = read
    if vocab_size <= BYTE_VOCABULARY:
        raise InvalidQuantity(
            f"vocab_size: tokenizer 'bpe' has a token for each of {BYTE_VOCABULARY} bytes and needs more, "
            f"got {vocab_size}; accepted: such as 4096"
        )
    found = encoded(train, validation, vocab_size=vocab_size, text_digest=corpus.digest, cache=cache)
    notes = [*corpus.notes]
    if len(found.spelling) < vocab_size:
        notes.append(f"the text gave {len(found.spelling)} tokens, of {vocab_size} asked for")
    if found.note is not None:
        notes.append(found.note)
    return replace(
        corpus,
        train=torch.from_numpy(found.train),
        validation=torch.from_numpy(found.validation),
        digest=sha256(f"{corpus.digest}\0{found.digest}".encode()).hexdigest(),
        notes=tuple(notes),
        tokenizer=Tokenizer.BPE,
        token_bytes=torch.tensor([len(token) for token in found.spelling]),
        tokenizer_json=found.tokenizer,
    )


def _split(contents: dict[str, bytes], hashes: dict[str, str]) -> tuple[bytearray, bytearray, str]:
    """Return training and validation text, and how they were split.

    By content hash, so that a file (or row) stays in its split whatever else is added, renamed or reordered,
    and copies of one are never in both. A copy is kept once.
    """
    by_hash = {hashes[file]: content for file, content in contents.items()}
    train, validation = bytearray(), bytearray()
    for content_hash in sorted(by_hash):
        chosen = int(content_hash[:8], 16) % VALIDATION_SHARE == 0
        (validation if chosen else train).extend(by_hash[content_hash])
    total = len(train) + len(validation)
    if max(MIN_VALIDATION_BYTES, total // (VALIDATION_SHARE * 4)) <= len(validation) <= total // 4:
        return train, validation, "split by file: about one in 20, chosen by content hash, is validation"
    # Too few files (or one too large) for a share near 5 %.
    text = b"".join(by_hash[content_hash] for content_hash in sorted(by_hash))
    train, validation = bytearray(), bytearray()
    cuts = [character_start(text, total * piece // _PIECES) for piece in range(_PIECES + 1)]
    for piece in range(_PIECES):
        side = validation if piece in _VALIDATION_PIECES else train
        side.extend(text[cuts[piece] : cuts[piece + 1]])
    return train, validation, "too few files to split by file: 4 of 80 equal pieces are validation"
