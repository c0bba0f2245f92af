"""Text sources: split, digest, windows, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import search.text.texts
from search.text.corpus import Corpus, load_corpus
from sizer.errors import InvalidFile, SizerError

LINE = "{:06d} the quick brown fox jumps over the lazy dog, file {}\n"


def _text(number: int, lines: int = 40) -> str:
    return "".join(LINE.format(line, number) for line in range(lines))


def _write(root: Path, numbers: range) -> Path:
    root.mkdir(exist_ok=True)
    for number in numbers:
        (root / f"file{number}.txt").write_text(_text(number), encoding="utf-8")
    return root


def _bytes(side: torch.Tensor) -> bytes:
    return bytes(side.tolist())


def _files_in(corpus: Corpus) -> tuple[set[int], set[int]]:
    """Numbers of the files each side has lines of."""
    sides = []
    for side in (corpus.train, corpus.validation):
        sides.append({int(line.split()[-1]) for line in _bytes(side).decode().splitlines()})
    return sides[0], sides[1]


def test_directory_is_split_by_whole_files(tmp_path: Path) -> None:
    corpus = load_corpus(str(_write(tmp_path / "texts", range(200))))
    train, validation = _files_in(corpus)
    assert train | validation == set(range(200))
    assert train & validation == set()
    assert 2 <= len(validation) <= 25  # about one in 20
    assert len(corpus.train) + len(corpus.validation) == sum(len(_text(n)) for n in range(200))
    assert (corpus.name, corpus.num_files, corpus.num_skipped) == ("texts", 200, 0)


def test_a_file_keeps_its_side_when_others_come_and_it_is_renamed(tmp_path: Path) -> None:
    few = load_corpus(str(_write(tmp_path / "few", range(150))))
    root = _write(tmp_path / "more", range(250))
    (root / "file3.txt").rename(root / "zzz.txt")
    more = load_corpus(str(root))
    assert _files_in(few)[1] <= _files_in(more)[1]
    assert _files_in(few)[0] <= _files_in(more)[0]


def test_order_of_creation_changes_nothing(tmp_path: Path) -> None:
    forwards = load_corpus(str(_write(tmp_path / "a", range(120))))
    (tmp_path / "b").mkdir()
    for number in reversed(range(120)):
        (tmp_path / "b" / f"file{number}.txt").write_text(_text(number), encoding="utf-8")
    backwards = load_corpus(str(tmp_path / "b"))
    assert forwards.digest == backwards.digest
    assert torch.equal(forwards.train, backwards.train)
    assert torch.equal(forwards.validation, backwards.validation)


def test_digest_depends_on_names_and_contents(tmp_path: Path) -> None:
    root = _write(tmp_path / "texts", range(60))
    first = load_corpus(str(root)).digest
    (root / "file1.txt").write_text(_text(1) + "!", encoding="utf-8")
    changed = load_corpus(str(root)).digest
    (root / "file1.txt").rename(root / "other.txt")
    renamed = load_corpus(str(root)).digest
    assert len({first, changed, renamed}) == 3


def test_digest_of_a_single_file_worked_by_hand(tmp_path: Path) -> None:
    from hashlib import sha256

    content = _text(0, lines=600).encode()
    (tmp_path / "one.txt").write_bytes(content)
    by_hand = sha256(b"one.txt\0" + sha256(content).hexdigest().encode() + b"\n").hexdigest()
    assert load_corpus(str(tmp_path / "one.txt")).digest == by_hand


def test_single_file_is_split_into_pieces_that_do_not_overlap(tmp_path: Path) -> None:
    lines = [LINE.format(n, 0) for n in range(4000)]
    (tmp_path / "one.txt").write_text("".join(lines), encoding="utf-8")
    corpus = load_corpus(str(tmp_path / "one.txt"))
    total = sum(map(len, lines))
    assert len(corpus.validation) == pytest.approx(total / 20, abs=4)
    assert len(corpus.train) + len(corpus.validation) == total
    train = set(_bytes(corpus.train).decode().splitlines(keepends=True))
    validation = set(_bytes(corpus.validation).decode().splitlines(keepends=True))
    # Only whole lines count; a piece may cut the lines at its two ends.
    assert len(validation & set(lines)) >= 190
    assert not (train & validation & set(lines))
    assert "4 of 80" in corpus.notes[0]


def test_pieces_do_not_cut_characters(tmp_path: Path) -> None:
    text = "測試🙂é" * 4001
    (tmp_path / "one.txt").write_text(text, encoding="utf-8")
    corpus = load_corpus(str(tmp_path / "one.txt"))
    sides = _bytes(corpus.train).decode(), _bytes(corpus.validation).decode()
    assert sorted("".join(sides)) == sorted(text)
    assert len(corpus.validation) == pytest.approx(len(text.encode()) / 20, abs=16)


def test_copies_of_a_file_count_once(tmp_path: Path) -> None:
    root = _write(tmp_path / "texts", range(100))
    before = load_corpus(str(root))
    (root / "copy.txt").write_text(_text(7), encoding="utf-8")
    after = load_corpus(str(root))
    assert len(after.train) + len(after.validation) == len(before.train) + len(before.validation)


def test_binary_files_are_counted_and_skipped(tmp_path: Path) -> None:
    root = _write(tmp_path / "texts", range(100))
    (root / "image.bin").write_bytes(b"\x89PNG\0\0")
    (root / "latin.txt").write_bytes("naïve".encode("latin-1"))
    corpus = load_corpus(str(root))
    assert (corpus.num_files, corpus.num_skipped) == (100, 2)
    assert any("2 files that are not UTF-8" in note for note in corpus.notes)


def test_links_do_not_loop_and_pipes_are_not_read(tmp_path: Path) -> None:
    root = _write(tmp_path / "texts", range(100))
    (root / "again").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to(root / "self")
    os.mkfifo(root / "pipe")
    assert load_corpus(str(root)).num_files == 100


def test_reading_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _write(tmp_path / "texts", range(100))
    monkeypatch.setattr(search.text.texts, "MAX_CORPUS_BYTES", 100_000)
    corpus = load_corpus(str(root))
    assert len(corpus.train) + len(corpus.validation) == 100_000
    assert corpus.num_files + corpus.num_skipped == 100
    assert any("reading stopped" in note for note in corpus.notes)
    assert load_corpus(str(root)).digest == corpus.digest


def test_builtin_is_large_stable_and_has_no_tests() -> None:
    corpus = load_corpus("builtin")
    assert len(corpus.train) > 4_000_000
    assert 0.01 < len(corpus.validation) / len(corpus.train) < 0.15
    assert load_corpus("builtin").digest == corpus.digest
    assert corpus.name == "builtin"
    # The standard library's own tests would say this hundreds of times.
    assert _bytes(corpus.train).count(b"support.run_unittest") < 5


def test_validation_windows(tmp_path: Path) -> None:
    corpus = load_corpus(str(_write(tmp_path / "texts", range(200))))
    chunks = corpus.val_chunks(5, 128)
    assert chunks.windows.shape == (5, 129)
    assert chunks.windows.dtype == torch.int64
    assert torch.equal(chunks.windows, corpus.val_chunks(5, 128).windows)
    assert torch.equal(chunks.windows[0], corpus.validation[:129].long())
    assert torch.equal(chunks.windows[-1], corpus.validation[-129:].long())
    assert torch.equal(chunks.scored_bytes, torch.ones(5, 128, dtype=torch.int64))
    assert chunks.num_bytes.tolist() == [128] * 5
    # No more than fit side by side.
    assert len(corpus.val_chunks(10**6, 128)) == len(corpus.validation) // 129
    assert corpus.val_chunks(1, 128).windows.shape == (1, 129)


def test_windows_longer_than_the_text_are_refused(tmp_path: Path) -> None:
    corpus = load_corpus(str(_write(tmp_path / "texts", range(200))))
    with pytest.raises(InvalidFile, match=r"corpus: 'texts'.*hold no window of 1000001 bytes"):
        corpus.val_chunks(1, 1_000_000)
    with pytest.raises(InvalidFile, match="training bytes"):
        corpus.train_batches(0, 1, 10_000_000)


def test_training_windows_are_seeded_and_come_from_the_text(tmp_path: Path) -> None:
    corpus = load_corpus(str(_write(tmp_path / "texts", range(200))))
    batches = corpus.train_batches(1, 4, 32)
    first = batches.at(1)
    assert first.shape == (4, 33)
    later = {step: batches.at(step) for step in (2, 256, 257, 600)}
    assert len({first.tolist().__repr__(), *(w.tolist().__repr__() for w in later.values())}) == 5
    again = corpus.train_batches(1, 4, 32)  # a run taken up at a step sees what it would have seen
    assert all(torch.equal(again.at(step), later[step]) for step in (600, 256, 257, 2))
    assert torch.equal(batches.at(1), first)
    assert not torch.equal(first, corpus.train_batches(2, 4, 32).at(1))
    text = _bytes(corpus.train)
    assert all(bytes(window.tolist()) in text for window in first)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "0 bytes of text are too few"), (b"short", "too few"), (b"\0" * 50_000, "1 binary")],
    ids=["empty", "short", "binary"],
)
def test_unusable_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "file.txt").write_bytes(content)
    with pytest.raises(InvalidFile, match=rf"corpus: .*file\.txt.*{reason}.*accepted: 'builtin'"):
        load_corpus(str(tmp_path / "file.txt"))


@pytest.mark.parametrize(
    "source", ["no/such/file", "", "a\0b", "x" * 5000], ids=["missing", "empty", "nul", "long"]
)
def test_unusable_names_are_refused(source: str) -> None:
    with pytest.raises(InvalidFile, match="^corpus: ") as error:
        load_corpus(source)
    assert "\n" not in str(error.value)


def test_empty_directory_and_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidFile, match="there is no file in it"):
        load_corpus(str(tmp_path / "empty"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidFile, match="not a regular file"):
        load_corpus(str(tmp_path / "pipe"))


def test_hugging_face_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # what the import system does for a failed import
    with pytest.raises(SizerError, match="'hf:roneneldan/TinyStories' needs the package datasets"):
        load_corpus("hf:roneneldan/TinyStories")


def test_hugging_face_rows_are_files(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ModuleType("datasets")

    def load_dataset(name: str, *, split: str, streaming: bool) -> list[dict[str, str]]:
        assert (name, split, streaming) == ("some/name", "train", True)
        return [{"text": _text(number)} for number in range(200)]

    monkeypatch.setattr(fake, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    assert load_corpus("hf:some/name").num_files == 200
    assert load_corpus("hf:some/name:text").digest == load_corpus("hf:some/name").digest
    with pytest.raises(InvalidFile, match="no row has text in the field 'body'; there are: 'text'"):
        load_corpus("hf:some/name:body")

    def no_such_name(name: str, *, split: str, streaming: bool) -> list[dict[str, str]]:
        raise FileNotFoundError(f"{name} is not on the hub\nsecond line")

    monkeypatch.setattr(fake, "load_dataset", no_such_name)
    with pytest.raises(InvalidFile, match="some/name is not on the hub") as error:
        load_corpus("hf:some/name")
    assert "\n" not in str(error.value)


def test_files_whose_share_is_too_short_to_score_are_cut_in_pieces(tmp_path: Path) -> None:
    # one of these 27 files of 900 bytes is chosen by its hash: less than a score needs
    for number in range(27):
        (tmp_path / f"{number}.txt").write_text(f"{number:03d} page\n" * 100, encoding="utf-8")
    corpus = load_corpus(str(tmp_path))
    assert len(corpus.validation) >= 1_024
    assert len(corpus.train) + len(corpus.validation) == 27 * 900


# Lines that say where they are from, in scripts of one to four bytes a character.
_WORDS = st.sampled_from(["wort", "größe", "測試", "🙂", "x = 1"])


@settings(max_examples=12)
@given(
    sizes=st.lists(st.integers(300, 900), min_size=1, max_size=60),
    word=_WORDS,
    rows=st.booleans(),
    bpe=st.booleans(),
)
def test_no_byte_of_validation_is_in_training(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], word: str, rows: bool, bpe: bool
) -> None:
    """Every line of the text is on exactly one side, or cut in two where a piece ends; nothing is lost."""
    root = tmp_path_factory.mktemp("texts")
    scale = max(1, 40_000 // sum(sizes))
    texts = [
        "".join(
            # said twice: two lines that are cut and joined never look like a third
            f"{document:02d}/{line:05d} {word} {document:02d}/{line:05d}\n"
            for line in range(size * scale // 20)
        )
        for document, size in enumerate(sizes)
    ]
    if rows:
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (root / "all.jsonl").write_text(lines, encoding="utf-8")
    else:
        for document, text in enumerate(texts):
            (root / f"{document}.txt").write_text(text, encoding="utf-8")
    corpus = load_corpus(str(root))
    train, validation = _bytes(corpus.train).decode(), _bytes(corpus.validation).decode()
    assert len(train.encode()) + len(validation.encode()) == len("".join(texts).encode())
    whole = set("".join(texts).splitlines(keepends=True))
    of_train, of_validation = (set(side.splitlines(keepends=True)) & whole for side in (train, validation))
    assert not of_train & of_validation
    assert len(whole) - len(of_train | of_validation) <= 8  # cut by the ends of 4 pieces
    if bpe:
        pytest.importorskip("tokenizers")
        tokens = load_corpus(str(root), tokenizer="bpe", vocab_size=300)
        for side, text in ((tokens.train, train), (tokens.validation, validation)):
            assert int(tokens.token_bytes[side.int()].sum()) == len(text.encode())
