"""Metadata bytes equal those of the package gguf."""

from __future__ import annotations

from pathlib import Path

import pytest

from sizer.formats.gguf_metadata import Entry, encoded

gguf = pytest.importorskip("gguf")


def test_bytes_are_those_of_another_writer(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("a", 7)
    writer.add_float32("b", 1e-6)
    writer.add_float64("c", 2.5)
    writer.add_uint64("d", 2**40)
    writer.add_bool("e", True)
    writer.add_string("größe", "naïve")
    writer.add_array("f", ["x", "", "ÿ"])
    writer.add_array("g", [1, -2, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    entries = (
        Entry("general.architecture", "STRING", "llama"),
        Entry("a", "UINT32", 7),
        Entry("b", "FLOAT32", 1e-6),
        Entry("c", "FLOAT64", 2.5),
        Entry("d", "UINT64", 2**40),
        Entry("e", "BOOL", True),
        Entry("größe", "STRING", "naïve"),
        Entry("f", "STRING[]", ("x", "", "ÿ")),
        Entry("g", "INT32[]", (1, -2, 3)),
    )
    assert path.read_bytes()[24:] == encoded(entries)
