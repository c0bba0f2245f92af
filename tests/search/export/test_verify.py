"""A file is compared with its own promises: bytes, score, memory; what cannot be compared is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.export.export import export_gguf
from search.export.finalist import load_finalist
from search.export.verification import VerifiedQuantity
from search.export.verify import verify_file
from sizer.errors import InvalidFile
from tests.search.export.conftest import MakeStudy, tiny

pytest.importorskip("xllamacpp")


def rows_of(path: Path, *, quick: bool = False) -> dict[str, VerifiedQuantity]:
    """Rows by quantity."""
    return {row.quantity: row for row in verify_file(path, quick=quick).rows}


def test_an_export_agrees_with_its_promises(make_study: MakeStudy, storage: str, tmp_path: Path) -> None:
    make_study(tiny(), "Q8_0", learning_rate=1.5e-3)
    done = export_gguf(load_finalist("s", 0, storage), tmp_path / "model.gguf")
    found = verify_file(done.path)
    rows = {row.quantity: row for row in found.rows}
    assert [row for row in found.rows if row.agrees is False] == []
    assert rows["file_bytes"].measured == rows["file_bytes"].predicted == done.file_bytes
    assert rows["tensor_bytes"].agrees
    assert rows["val_bits_per_byte"].measured == pytest.approx(done.bits_per_byte, abs=5e-4)
    assert rows["memory_bytes"].agrees
    for quantity in ("load_s", "prefill_tokens_per_s", "decode_tokens_per_s"):
        assert rows[quantity].agrees is None
        assert (rows[quantity].measured or 0) > 0
        assert rows[quantity].note.startswith("no --device")


def test_a_changed_score_does_not_agree(make_study: MakeStudy, storage: str, tmp_path: Path) -> None:
    make_study(tiny(), "F32")
    path = export_gguf(load_finalist("s", 0, storage), tmp_path / "model.gguf").path
    data = bytearray(path.read_bytes())
    data[-4000:] = bytes(4000)  # some weights of the last norm and matrix
    path.write_bytes(data)
    found = verify_file(path)
    assert not found.agrees
    assert {row.quantity: row.agrees for row in found.rows}["val_bits_per_byte"] is False


def test_a_longer_file_does_not_agree(make_study: MakeStudy, storage: str, tmp_path: Path) -> None:
    make_study(tiny())
    path = export_gguf(load_finalist("s", 0, storage), tmp_path / "model.gguf").path
    with path.open("ab") as file:
        file.write(b"\0" * 32)
    rows = rows_of(path, quick=True)
    assert rows["file_bytes"].agrees is False
    assert rows["tensor_bytes"].agrees is True
    assert set(rows) == {"file_bytes", "tensor_bytes"}


def test_another_text_is_named_not_compared(make_study: MakeStudy, storage: str, tmp_path: Path) -> None:
    make_study(tiny())
    path = export_gguf(load_finalist("s", 0, storage), tmp_path / "model.gguf").path
    (tmp_path / "text.py").write_text("print('another')\n" * 5000, encoding="utf-8")
    row = rows_of(path)["val_bits_per_byte"]
    assert row.agrees is None
    assert "is not the text that the file was scored on" in row.note


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"not a model")
    with pytest.raises(InvalidFile, match="magic"):
        verify_file(path)
