"""Readers of corpora: JSONL, gzip and Parquet, whole and broken, and what they may cost."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import search.text.text_files
import search.text.texts
from search.text.corpus import load_corpus
from search.text.text_files import file_names, read_files
from search.text.texts import Texts
from sizer.errors import InvalidFile, SizerError


def _story(number: int) -> str:
    return f"story {number}: " + f"once upon a time there was number {number}, and then\n" * 8


STORIES = [_story(number) for number in range(200)]


def _rows(texts: Iterable[str], field: str = "text") -> str:
    return "".join(json.dumps({"id": n, field: text}) + "\n" for n, text in enumerate(texts))


def _read(root: Path, *names: str, field: str = "text") -> Texts:
    return read_files(root, names, field)


def _both_sides(source: Path | str) -> list[str]:
    """Lines of training and validation together, sorted."""
    corpus = load_corpus(str(source))
    text = bytes(corpus.train.tolist()) + bytes(corpus.validation.tolist())
    return sorted(text.decode().splitlines())


LINES = sorted(line for story in STORIES for line in story.splitlines())


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "A.JSONL", "a.jsonl.gz", "a.json.gz"])
def test_json_lines_are_documents(tmp_path: Path, name: str) -> None:
    content = _rows(STORIES).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    corpus = load_corpus(str(tmp_path / name))
    assert (corpus.num_files, corpus.num_skipped, len(corpus.notes)) == (200, 0, 1)
    assert "split by file" in corpus.notes[0]
    assert _both_sides(tmp_path / name) == LINES
    # whole documents: a story's name and the story are on the same side
    validation = bytes(corpus.validation.tolist()).decode()
    assert validation.count("story ") * 8 == validation.count("once upon")


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.md.gz", "a"])
def test_plain_text_compressed_or_not(tmp_path: Path, name: str) -> None:
    content = "".join(STORIES).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert "4 of 80" in load_corpus(str(tmp_path / name)).notes[0]
    assert _read(tmp_path, name).contents == {name: content}


def test_another_field_is_named_behind_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(_rows(STORIES, "body"), encoding="utf-8")
    assert _both_sides(f"{path}:body") == LINES
    assert load_corpus(f"{path}:body").name == "a.jsonl:body"
    assert _both_sides(f"{tmp_path}:body") == LINES
    with pytest.raises(
        InvalidFile, match=r"no row has text in the field 'text'; there are: 'id', 'body'; accepted: .*:FIELD"
    ):
        load_corpus(str(path))
    with pytest.raises(InvalidFile, match="no row has text in the field 'id'"):
        load_corpus(f"{path}:id")
    (tmp_path / "with:colon.txt").write_text("".join(STORIES), encoding="utf-8")
    assert load_corpus(str(tmp_path / "with:colon.txt")).name == "with:colon.txt"
    with pytest.raises(InvalidFile, match="only JSONL and Parquet have a field 'x'"):
        load_corpus(f"{tmp_path / 'with:colon.txt'}:x")
    with pytest.raises(InvalidFile, match="does not exist"):
        load_corpus(f"{tmp_path / 'none.jsonl'}:body")


def test_broken_rows_are_counted_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.text.text_files, "MAX_LINE_BYTES", 2000)
    broken = [
        b'{"text": "cut sho',
        b'"text"',
        b"[1, 2]",
        b'{"text": 3}',
        b'{"text": null}',
        b'{"other": "x"}',
        b'{"text": "half a pair \\ud800"}',
        b'{"text": "null \\u0000"}',
        b"\xff\xfe",
        b"[" * 1999,
        b'{"n": 1' + b"0" * 1900 + b"}",
        b'{"text": "' + b"x" * 9000 + b'"}',  # longer than a line may be
    ]
    good = [
        json.dumps({"text": "first"}).encode(),
        b"\xef\xbb\xbf" + json.dumps({"text": "second\n"}).encode(),
    ]
    ignored = [b"", b"   ", b'{"text": ""}']
    lines = [good[0], *broken, *ignored, good[1]]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    texts = _read(tmp_path, "a.jsonl")
    assert list(texts.contents.values()) == [b"first\n", b"second\n"]
    assert texts.num_broken_rows == len(broken)
    assert any(note.startswith(f"{len(broken)} broken rows") for note in texts.omissions())


def test_json_that_is_not_rows_is_text(tmp_path: Path) -> None:
    pretty = json.dumps({"name": "package", "text": "not a row"}, indent=2)
    (tmp_path / "package.json").write_text(pretty, encoding="utf-8")
    (tmp_path / "list.json").write_text("[1, 2, 3]\n", encoding="utf-8")
    texts = _read(tmp_path, "package.json", "list.json")
    assert texts.contents == {"package.json": pretty.encode(), "list.json": b"[1, 2, 3]\n"}


def test_a_directory_may_mix_everything(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    (tmp_path / "plain.txt").write_text("".join(STORIES[:50]), encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text(_rows(STORIES[50:100]), encoding="utf-8")
    (tmp_path / "more.jsonl.gz").write_bytes(gzip.compress(_rows(STORIES[100:150]).encode()))
    (tmp_path / "deep").mkdir()
    parquet.write_table(arrow.table({"text": STORIES[150:], "n": range(50)}), tmp_path / "deep/last.parquet")
    (tmp_path / "image.bin").write_bytes(b"\0" * 99)
    corpus = load_corpus(str(tmp_path))
    assert (corpus.num_files, corpus.num_skipped) == (151, 1)
    assert _both_sides(tmp_path) == LINES


def test_compressed_files_that_are_damaged(tmp_path: Path) -> None:
    whole = gzip.compress(_rows(STORIES).encode(), compresslevel=1)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) - 9])
    (tmp_path / "not.txt.gz").write_bytes(b"this is not gzip")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress("".join(STORIES).encode())[:-9])
    garbled = bytearray(gzip.compress(b"".join(s.encode() for s in STORIES)))
    garbled[40:60] = b"\xff" * 20
    (tmp_path / "garbled.txt.gz").write_bytes(garbled)
    texts = _read(tmp_path, "not.txt.gz", "cut.txt.gz", "garbled.txt.gz")
    assert (texts.contents, texts.num_unreadable) == ({}, 3)
    rows = _read(tmp_path, "cut.jsonl.gz")
    assert len(rows.contents) > 150  # what came before the cut
    assert (rows.num_unreadable, rows.num_broken_rows) == (0, 1)
    with pytest.raises(InvalidFile, match="0 binary and 1 unreadable"):
        load_corpus(str(tmp_path / "not.txt.gz"))


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.text.texts, "MAX_CORPUS_BYTES", 100_000)
    monkeypatch.setattr(search.text.texts, "MAX_READ_BYTES", 400_000)


@pytest.mark.usefixtures("small_limits")
def test_what_unfolds_without_end_is_read_up_to_the_limit(tmp_path: Path) -> None:
    """Files of some kilobytes that unfold to 50 MB: kept and looked at only as far as the limits say."""
    (tmp_path / "long.txt.gz").write_bytes(gzip.compress(b"long line\n" * 5_000_000, 9))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b'{"text": "row"}\n' * 3_000_000, 9))
    (tmp_path / "broken.jsonl.gz").write_bytes(gzip.compress(b"broken\n" * 7_000_000, 9))
    (tmp_path / "blank.jsonl.gz").write_bytes(gzip.compress(b"\n" * 50_000_000, 9))
    (tmp_path / "line.jsonl.gz").write_bytes(gzip.compress(b"x" * 50_000_000, 9))
    sizes = {}
    for path in tmp_path.iterdir():
        texts = _read(tmp_path, path.name)
        sizes[path.name] = sum(map(len, texts.contents.values()))
        assert texts.full
        assert any("reading stopped" in note for note in texts.omissions())
        assert texts.num_broken_rows < 2000
        assert texts.unread > -search.text.text_files.MAX_LINE_BYTES
    assert sizes.pop("long.txt.gz") == 100_000
    assert 5_000 < sizes.pop("rows.jsonl.gz") <= 100_000
    assert set(sizes.values()) == {0}


@pytest.mark.usefixtures("small_limits")
def test_other_fields_count_as_read(tmp_path: Path) -> None:
    row = json.dumps({"text": "short", "image": "x" * 50_000}) + "\n"
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(row.encode() * 1000))
    texts = _read(tmp_path, "a.jsonl.gz")
    assert len(texts.contents) == 8  # the first to pass 400,000 bytes
    assert texts.full


def test_no_more_documents_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.text.texts, "MAX_DOCUMENTS", 70)
    (tmp_path / "a.jsonl").write_text(_rows(STORIES), encoding="utf-8")
    texts = _read(tmp_path, "a.jsonl")
    assert len(texts.contents) == 70
    assert any("70 rows" in note for note in texts.omissions())


def test_parquet_of_every_shape(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    tables: dict[str, tuple[Any, dict[str, Any]]] = {
        "plain": (arrow.table({"text": STORIES}), {}),
        "groups": (arrow.table({"a": range(200), "text": STORIES}), {"row_group_size": 7}),
        "large": (arrow.table({"text": arrow.array(STORIES, arrow.large_string())}), {"compression": "zstd"}),
        "undivided": (arrow.table({"text": STORIES}), {"use_dictionary": False, "compression": "gzip"}),
    }
    for name, (table, options) in tables.items():
        parquet.write_table(table, tmp_path / f"{name}.parquet", **options)
        assert _both_sides(tmp_path / f"{name}.parquet") == LINES, name
    parquet.write_table(arrow.table({"body": STORIES}), tmp_path / "body.pq")
    assert _both_sides(f"{tmp_path / 'body.pq'}:body") == LINES
    with pytest.raises(InvalidFile, match="no row has text in the field 'text'; there are: 'body'"):
        load_corpus(str(tmp_path / "body.pq"))


def test_parquet_that_is_broken_or_no_text(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    parquet.write_table(arrow.table({"text": STORIES}), tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    for number, damaged in enumerate((b"", b"PAR1", content[:-9], content[100:], b"PAR1" * 99)):
        (tmp_path / f"{number}.parquet").write_bytes(damaged)
        texts = _read(tmp_path, f"{number}.parquet")
        assert (texts.contents, texts.num_unreadable) == ({}, 1)
    columns = {
        "numbers": [1, 2, 3],
        "bytes": [b"a", b"b", b"c"],
        "none": arrow.nulls(3, arrow.string()),
        "lists": [["a"], [], None],
    }
    for name, column in columns.items():
        parquet.write_table(arrow.table({"text": column}), tmp_path / f"{name}.parquet")
        texts = _read(tmp_path, f"{name}.parquet")
        assert texts.contents == {}, name
        assert texts.num_broken_rows + texts.num_unreadable > 0, name
    with pytest.raises(InvalidFile, match="no row has text"):
        load_corpus(str(tmp_path / "numbers.parquet"))


@pytest.mark.usefixtures("small_limits")
def test_parquet_that_unfolds_without_end(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    repeated = arrow.DictionaryArray.from_arrays(arrow.array([0] * 1_000_000, arrow.int32()), ["abc " * 5000])
    parquet.write_table(arrow.table({"text": repeated}), tmp_path / "repeated.parquet", compression="zstd")
    parquet.write_table(
        arrow.table({"text": arrow.nulls(5_000_000, arrow.string())}), tmp_path / "none.parquet"
    )
    assert (tmp_path / "repeated.parquet").stat().st_size < 10_000  # of 20 GB
    texts = _read(tmp_path, "repeated.parquet")
    assert [len(text) for text in texts.contents.values()] == [20_001] * 4
    assert texts.truncated
    nothing = _read(tmp_path, "none.parquet")
    assert nothing.full
    assert nothing.num_broken_rows < 2000


def test_parquet_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    (tmp_path / "a.txt").write_text("".join(STORIES), encoding="utf-8")
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # what the import system does for a failed import
    for source in (tmp_path / "a.parquet", tmp_path):
        with pytest.raises(SizerError, match="'a.parquet': Parquet needs the package pyarrow .extra"):
            load_corpus(str(source))
    assert load_corpus(str(tmp_path / "a.txt")).num_files == 1


def test_links_that_lead_out_of_the_folder_are_not_read(tmp_path: Path) -> None:
    outside, inside = tmp_path / "secret.txt", tmp_path / "corpus"
    outside.write_text("secret " * 1000, encoding="utf-8")
    inside.mkdir()
    (inside / "story.txt").write_text("".join(STORIES), encoding="utf-8")
    (inside / "out.txt").symlink_to(outside)
    (inside / "again.txt").symlink_to(inside / "story.txt")
    (inside / "gone.txt").symlink_to(tmp_path / "nothing")
    assert sorted(file_names(inside)) == ["again.txt", "story.txt"]
    assert not any("secret" in line for line in _both_sides(inside))
