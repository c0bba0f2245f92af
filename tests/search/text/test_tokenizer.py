"""Byte-level BPE: it loses nothing, is the same everywhere, and what it keeps on disk is checked."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import search.text.tokenizer
from search.text.tokenizer import (
    Encoded,
    Tokens,
    byte_characters,
    encode,
    encoded,
    spellings,
    spells,
    train_bpe,
)
from sizer.errors import InvalidFile, SizerError

pytest.importorskip("tokenizers")

ROOT = Path(__file__).resolve().parents[3]
LINES = "".join(f"def naïve_{n % 17}(größe): return größe * {n}  # 測試 {n % 5}\n" for n in range(2000))
TRAIN, VALIDATION = LINES[:60_000].encode(), LINES[60_000:].encode()


@pytest.fixture(scope="module")
def vocabulary() -> str:
    return train_bpe(TRAIN, 380)


def _encoded(cache: Path | None, vocab_size: int = 400) -> Encoded:
    return encoded(TRAIN, VALIDATION, vocab_size=vocab_size, text_digest="a" * 64, cache=cache)


def _text(tokens: Tokens, spelling: tuple[bytes, ...]) -> bytes:
    return b"".join(spelling[token] for token in tokens.tolist())


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_every_text_can_be_written_and_read_again(vocabulary: str, text: str) -> None:
    tokens = list(encode(vocabulary, text.encode()))
    spelling = spellings(vocabulary)
    assert b"".join(spelling[token] for token in tokens) == text.encode()
    assert spells(numpy.array(tokens, dtype=numpy.int32), spelling, text.encode()) or not tokens


def test_long_texts_are_cut_without_loss(monkeypatch: pytest.MonkeyPatch, vocabulary: str) -> None:
    monkeypatch.setattr(search.text.tokenizer, "_PIECE_BYTES", 50)
    monkeypatch.setattr(search.text.tokenizer, "_BATCH_PIECES", 3)
    monkeypatch.setattr(search.text.tokenizer, "_CHECKED_TOKENS", 7)
    for text in (LINES.encode()[:3000], ("測" * 500).encode(), "é\n\n\n".encode() * 99):
        tokens = numpy.fromiter(encode(vocabulary, text), numpy.int32)
        assert spells(tokens, spellings(vocabulary), text)


def test_spelling_agrees_with_the_package(vocabulary: str) -> None:
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_str(vocabulary)
    spelling = spellings(vocabulary)
    assert len(spelling) == theirs.get_vocab_size() == 380
    ascii_tokens = [n for n, token in enumerate(spelling) if token.isascii()]
    assert len(ascii_tokens) > 200
    assert all(theirs.decode([n]) == spelling[n].decode() for n in ascii_tokens)
    assert theirs.decode(list(encode(vocabulary, VALIDATION))) == VALIDATION.decode()


def test_byte_characters_are_those_of_the_package() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    table = byte_characters()
    assert sorted(table) == list(range(256))
    assert sorted(table.values()) == sorted(ByteLevel.alphabet())
    assert [pair[0] for pair in ByteLevel(add_prefix_space=False).pre_tokenize_str(" \n")] == [
        table[ord(" ")] + table[ord("\n")]
    ]


def test_another_process_learns_the_same() -> None:
    code = (
        "import sys; from hashlib import sha256; from search.text.tokenizer import train_bpe; "
        "print(sha256(train_bpe(sys.stdin.buffer.read(), 400).encode()).hexdigest())"
    )
    for threads in ("1", "3"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=TRAIN,
            capture_output=True,
            cwd=ROOT,
            env={"RAYON_NUM_THREADS": threads},
            check=True,
        )
        assert done.stdout.decode().strip() == sha256(train_bpe(TRAIN, 400).encode()).hexdigest()


def test_merges_come_from_the_training_text_alone() -> None:
    ours = encoded(b"abab" * 99, b"xyxy" * 99, vocab_size=300, text_digest="b" * 64, cache=None)
    joined = b"".join(token for token in ours.spelling if len(token) > 1)
    assert set(joined) == set(b"ab")
    assert _text(ours.train, ours.spelling) == b"abab" * 99
    assert _text(ours.validation, ours.spelling) == b"xyxy" * 99


def test_tokens_are_kept_and_taken_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _encoded(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["tokenizer.json", "train.npy", "validation.npy"]
    assert made.train.dtype == numpy.uint16
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # not needed to read what is there
    kept = _encoded(tmp_path)
    assert (kept.digest, kept.spelling) == (made.digest, made.spelling)
    assert isinstance(kept.train, numpy.memmap)
    assert numpy.array_equal(kept.train, made.train)
    with pytest.raises(SizerError, match="'bpe' needs the package tokenizers .extra `bpe`.*accepted"):
        _encoded(tmp_path, 401)
    with pytest.raises(SizerError, match="'bpe' needs the package tokenizers"):
        _encoded(None)


@pytest.mark.parametrize("name", ["tokenizer.json", "train.npy", "validation.npy"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "folder", "other"])
def test_damaged_tokens_are_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    made = _encoded(tmp_path)
    (folder,) = tmp_path.iterdir()
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage in ("cut", "empty"):
        path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    elif damage == "folder":
        path.mkdir()
    elif damage == "other":
        other = encoded(TRAIN[:30_000], VALIDATION, vocab_size=300, text_digest="c" * 64, cache=tmp_path)
        assert len(other.spelling) == 300
        path.write_bytes((tmp_path / f"{'c' * 32}-bpe-300" / name).read_bytes())
    again = _encoded(tmp_path)
    assert again.digest == made.digest
    assert (again.note is not None) == (damage == "folder")  # cannot be written over


def test_a_place_that_cannot_be_written_is_said_and_not_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    made = _encoded(tmp_path / "file")
    assert made.note is not None
    assert "tokens were not kept in" in made.note
    assert made.digest == _encoded(None).digest


def test_digest_depends_on_every_token() -> None:
    made = _encoded(None)
    other = made.train.copy()
    other[-1] += 1
    digests = {
        made.digest,
        replace(made, train=other).digest,
        replace(made, validation=other).digest,
        replace(made, spelling=(*made.spelling, b"x")).digest,
    }
    assert len(digests) == 4


def test_other_tokens_do_not_spell_the_text(vocabulary: str) -> None:
    spelling = spellings(vocabulary)
    tokens = numpy.fromiter(encode(vocabulary, VALIDATION), numpy.int32)
    assert spells(tokens, spelling, VALIDATION)
    assert not spells(tokens[:-1], spelling, VALIDATION)
    assert not spells(numpy.append(tokens, tokens[-1:]), spelling, VALIDATION)
    assert not spells(tokens - len(spelling), spelling, VALIDATION)  # counted from the end: the same text


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"vocab": {"a": 0}}, "not every byte has a token"),
        ({"vocab": {"a": 0, "b": 2}}, "not numbered from 0"),
        ({"vocab": {"語": 0}}, "not a byte-level BPE"),
        ({"vocab": [1, 2]}, "not a byte-level BPE"),
        ({}, "not a byte-level BPE"),
    ],
)
def test_other_tokenizers_are_refused(model: object, reason: str) -> None:
    with pytest.raises(InvalidFile, match=reason):
        spellings(json.dumps({"model": model}))
    with pytest.raises(InvalidFile, match="not a byte-level BPE"):
        spellings("[" * 5000)
