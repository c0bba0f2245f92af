"""Files and folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from sizer.atomic_write import atomic_folder, atomic_write


def _write_half(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt


def _write_half_of_a_folder(folder: Path) -> None:
    with atomic_folder(folder) as new:
        (new / "b").write_text("second", encoding="utf-8")
        raise KeyboardInterrupt


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_write(path) as file:
        file.write(b"first")
    with pytest.raises(KeyboardInterrupt):
        _write_half(path)
    assert path.read_bytes() == b"first"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_is_whole_or_as_before(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with atomic_folder(folder) as new:
        (new / "a").write_text("first", encoding="utf-8")
        assert not folder.exists()
    with pytest.raises(KeyboardInterrupt):
        _write_half_of_a_folder(folder)
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == {"a": "first"}
    with atomic_folder(folder) as new:
        (new / "b").write_text("second", encoding="utf-8")
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
