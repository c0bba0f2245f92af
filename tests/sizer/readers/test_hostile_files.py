"""Files made to break the readers: one clear error each, whatever the bytes."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.errors import InvalidFile, SizerError
from sizer.readers import read_model
from sizer.readers.gguf_header import read_gguf
from sizer.readers.inspection import inspect_file
from sizer.readers.safetensors_header import read_safetensors
from tests.sizer.readers.handmade import (
    ARRAY,
    FLOAT32,
    STRING,
    TINY,
    UINT8,
    UINT32,
    array,
    entry,
    gguf_bytes,
    pair,
    safetensors_bytes,
    text,
    write_gguf,
    write_safetensors,
)

HUGE = 2**60
ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def _length(count: int) -> bytes:
    return struct.pack("<Q", count)


GGUF: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "magic: 4 bytes at byte 0, the file ends after 0"),
    "magic": (b"GGML" + bytes(100), "magic: the file starts with b'GGML', not b'GGUF'"),
    "only magic": (b"GGUF", "version: 4 bytes at byte 4, the file ends after 0"),
    "version 1": (gguf_bytes(version=1), "version: 1 in .*; accepted: a .gguf file of version 2 or 3"),
    "version 4": (gguf_bytes(version=4), "version: 4 in"),
    "version 0": (gguf_bytes(version=0), "version: 0 in"),
    "big-endian": (gguf_bytes(version=3 << 24), "version: 3 in big-endian order"),
    "tensors": (gguf_bytes(counts=(HUGE, 0)), f"tensor_count: {HUGE} .* at most 100000"),
    "more tensors than bytes": (gguf_bytes(counts=(9, 0)), "tensor_count: 9 .the file has 16 bytes left"),
    "keys": (gguf_bytes(counts=(0, HUGE)), f"metadata_kv_count: {HUGE} .* at most 20000"),
    "long key": (
        gguf_bytes([_length(2**62) + bytes(8)]),
        "metadata key 0: a text of 4611686018427387904 bytes",
    ),
    "negative length": (
        gguf_bytes([_length(2**64 - 1) + bytes(8)]),
        "metadata key 0: a text of 184467440737095",
    ),
    "key over 64 KiB": (
        gguf_bytes([pair("k" * 65_536, UINT8, b"1")]),
        "metadata key 0: a text of 65536 bytes",
    ),
    "key not UTF-8": (gguf_bytes([pair(b"ab\xff", UINT8, b"1")]), "metadata key 0: text that is not UTF-8"),
    "key twice": (gguf_bytes([pair("k", UINT8, b"1")] * 2), "'k': the key stands twice"),
    "value type": (gguf_bytes([pair("k", 13, bytes(9))]), "'k': unknown value type 13"),
    "long text": (
        gguf_bytes([pair("k", STRING, _length(2**62))]),
        "'k': a text of 4611686018427387904 bytes",
    ),
    "text over 1 MiB": (
        gguf_bytes([pair("k", STRING, text("x" * 1_048_577))]),
        "'k': a text of 1048577 bytes",
    ),
    "text not UTF-8": (gguf_bytes([pair("k", STRING, text(b"\xc3"))]), "'k': text that is not UTF-8 at its"),
    "all texts": (
        gguf_bytes([pair(str(n), STRING, text("x" * 1_000_000)) for n in range(13)]),
        "'12': a text of 1000000 bytes",
    ),
    "long array": (
        gguf_bytes([pair("k", ARRAY, array(FLOAT32, HUGE))]),
        "'k': 4611686018427387904 bytes at byte 49",
    ),
    "array product overflows": (
        gguf_bytes([pair("k", ARRAY, array(12, 2**61))]),
        "'k': 18446744073709551616 b",
    ),
    "array type": (gguf_bytes([pair("k", ARRAY, array(99, 1))]), "'k': an array of unknown value type 99"),
    "nested type": (
        gguf_bytes([pair("k", ARRAY, array(ARRAY, 1, array(99, 1)))]),
        "'k': an array of unknown",
    ),
    "many texts": (gguf_bytes([pair("k", ARRAY, array(STRING, HUGE))]), f"'k': an array of {HUGE} elements"),
    "texts past the end": (
        gguf_bytes([pair("k", ARRAY, array(STRING, 65, _length(2**63) + bytes(512)))]),
        "'k': 9223372036854775816 bytes at byte",
    ),
    "texts end early": (
        gguf_bytes([pair("k", ARRAY, array(STRING, 65, (_length(1) + b"x") * 58))]),
        "'k': ",
    ),
    "nested without end": (
        gguf_bytes([pair("k", ARRAY, array(ARRAY, 1) * 9)]),
        "'k': arrays within arrays without end",
    ),
    "nested bomb": (
        gguf_bytes([pair("k", ARRAY, array(ARRAY, 100_000, array(UINT8, 0) * 100_000))]),
        "'k': an array of 100000 elements .* at most 2000 more",
    ),
    "nested texts": (
        gguf_bytes([pair("k", ARRAY, array(ARRAY, 1, array(STRING, HUGE)))]),
        f"'k': an array of {HUGE}",
    ),
    "alignment 0": (
        gguf_bytes([pair("general.alignment", UINT32, bytes(4))]),
        "general.alignment: 0 in .*; accepted: a power of two",
    ),
    "alignment 48": (gguf_bytes([pair("general.alignment", UINT32, struct.pack("<I", 48))]), "alignment: 48"),
    "alignment text": (gguf_bytes([pair("general.alignment", STRING, text("32"))]), "alignment: '32'"),
    "tensor name": (gguf_bytes([], [entry("n" * 1025, [1], 0, 0)], 32), "name of a tensor: a text of 1025"),
    "tensor name not UTF-8": (
        gguf_bytes([], [entry(b"\x80", [1], 0, 0)], 32),
        "name of a tensor: text that is",
    ),
    "tensor twice": (
        gguf_bytes([], [entry("t", [1], 0, 0), entry("t", [1], 0, 32)], 64),
        "tensor 't': the name stands twice",
    ),
    "dimensions": (gguf_bytes([], [entry("t", [1] * 5, 0, 0)], 32), "tensor 't': 5 dimensions"),
    "many dimensions": (
        gguf_bytes([], [text("t") + struct.pack("<I", 2**32 - 1) + bytes(40)]),
        "tensor 't': 4294967295 dimensions",
    ),
    "negative dimension": (
        gguf_bytes([], [entry("t", [-4], 0, 0)], 32),
        "tensor 't': dimensions 18446744073709551612 in",
    ),
    "no rows": (gguf_bytes([], [entry("t", [4, 0], 0, 0)], 32), "tensor 't': dimensions 4 x 0"),
    "product overflows": (
        gguf_bytes([], [entry("t", [2**32, 2**32], 0, 0)], 32),
        "tensor 't': dimensions 429496",
    ),
    "broken rows": (
        gguf_bytes([], [entry("t", [33], 8, 0)], 64),
        "tensor 't': rows of 33 elements of type Q8_0",
    ),
    "offset": (
        gguf_bytes([], [entry("t", [1], 0, 4)], 64),
        "tensor 't': offset 4 in .*; accepted: a multiple",
    ),
    "out of range": (
        gguf_bytes([], [entry("t", [1], 0, 64)], 64),
        "tensor 't': data from byte 128 to 132 of",
    ),
    "far out of range": (
        gguf_bytes([], [entry("t", [1], 0, 2**63)], 64),
        "tensor 't': data from byte 92233720",
    ),
    "unknown out of range": (gguf_bytes([], [entry("t", [1], 99, 2**32)]), "tensor 't': data from byte"),
    "overlap": (
        gguf_bytes([], [entry("t", [16], 0, 0), entry("u", [1], 0, 32)], 64),
        "tensor 'u': its data overlaps that of tensor 't'",
    ),
    "one place": (
        gguf_bytes([], [entry("t", [1], 99, 0), entry("u", [1], 99, 0)], 64),
        "tensor 'u': its data overlaps that of tensor 't'",
    ),
}

SAFETENSORS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "header: the file has 0 bytes"),
    "short": (bytes(7), "header: the file has 7 bytes"),
    "header longer than the file": (_length(9) + b"{}", "9 bytes are declared, the file has 10"),
    "header of 2**62": (_length(2**62) + b"{}", "header length: 4611686018427387904 bytes are declared"),
    "header too long": (safetensors_bytes(b" " * 12_582_913), "header length: 12582913 bytes in"),
    "no header": (_length(0), "header: not JSON"),
    "not JSON": (safetensors_bytes(b"{'a': 1}"), "header: not JSON"),
    "not UTF-8": (safetensors_bytes(b'{"\xff": 1}'), "header: not UTF-8 at byte 2"),
    "list": (safetensors_bytes([1]), "header: not a JSON object"),
    "deep": (safetensors_bytes(b'{"a":' + b"[" * 100_000), "header: not JSON"),
    "long number": (safetensors_bytes(b'{"a":' + b"9" * 1_000_000 + b"}"), "header: not JSON"),
    "bomb of lists": (
        safetensors_bytes(b'{"a":[' + b"[]," * 250_000 + b"0]}"),
        "header: 500002 objects, lists",
    ),
    "name twice": (safetensors_bytes(b'{"a": 1, "a": 1}'), "header: the name 'a' stands twice"),
    "metadata": (safetensors_bytes({"__metadata__": {"a": 1}}), "__metadata__: not an object of texts"),
    "metadata list": (safetensors_bytes({"__metadata__": []}), "__metadata__: not an object of texts"),
    "metadata twice": (
        safetensors_bytes(b'{"__metadata__": {"a": "", "a": ""}}'),
        "__metadata__: the name 'a'",
    ),
    "no object": (safetensors_bytes({"t": 7}), "tensor 't': not an object of those keys"),
    "key missing": (safetensors_bytes({"t": {"dtype": "F32"}}), "tensor 't': not an object of those keys"),
    "key twice": (
        safetensors_bytes(b'{"t": {"dtype": "F32", "dtype": "F32", "shape": [], "data_offsets": [0, 4]}}', 4),
        "tensor 't': not an object of those keys",
    ),
    "dtype": (safetensors_bytes({"t": {**ONE, "dtype": "F31"}}, 8), "tensor 't': dtype 'F31' in .*BF16"),
    "dtype number": (safetensors_bytes({"t": {**ONE, "dtype": 1}}, 8), "tensor 't': dtype 1 in"),
    "dtype list": (safetensors_bytes({"t": {**ONE, "dtype": []}}, 8), r"tensor 't': dtype \[\] in"),
    "negative": (safetensors_bytes({"t": {**ONE, "shape": [-2]}}, 8), r"tensor 't': shape \[-2\]"),
    "fraction": (safetensors_bytes({"t": {**ONE, "shape": [2.0]}}, 8), r"tensor 't': shape \[2.0\]"),
    "truth": (safetensors_bytes({"t": {**ONE, "shape": [True]}}, 8), r"tensor 't': shape \[True\]"),
    "infinity": (
        safetensors_bytes(b'{"t": {"dtype": "U8", "shape": [1e999], "data_offsets": [0, 1]}}'),
        "shape",
    ),
    "many dimensions": (
        safetensors_bytes({"t": {**ONE, "shape": [1] * 99}}, 8),
        "tensor 't': shape .*at most 64",
    ),
    "product overflows": (
        safetensors_bytes({"t": {**ONE, "shape": [2**63] * 64}}, 8),
        "tensor 't': shape|is not the 8 bytes of data_offsets",
    ),
    "shape and bytes": (
        safetensors_bytes({"t": {**ONE, "shape": [3]}}, 8),
        r"\[3\] of F32 is not the 8 bytes",
    ),
    "offsets swapped": (safetensors_bytes({"t": {**ONE, "data_offsets": [8, 0]}}, 8), "data_offsets .8, 0"),
    "one offset": (safetensors_bytes({"t": {**ONE, "data_offsets": [8]}}, 8), r"data_offsets \[8\]"),
    "huge offsets": (
        safetensors_bytes({"t": {**ONE, "data_offsets": [HUGE, HUGE + 8]}}, 8),
        "tensor 't': data_offsets leaves a hole before it",
    ),
    "overlap": (
        safetensors_bytes({"t": ONE, "u": {**ONE, "data_offsets": [4, 12]}}, 12),
        "tensor 'u': data_offsets overlaps the tensor before it",
    ),
    "hole": (
        safetensors_bytes({"t": ONE, "u": {**ONE, "data_offsets": [12, 20]}}, 20),
        "tensor 'u': data_offsets leaves a hole before it",
    ),
    "cut short": (safetensors_bytes({"t": ONE}, 7), "data_offsets: the file is cut short"),
    "goes on": (safetensors_bytes({"t": ONE}, 9), "data_offsets: the file continues after the last tensor"),
}


@pytest.mark.parametrize(("content", "message"), GGUF.values(), ids=GGUF)
def test_a_broken_gguf_file(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    with pytest.raises(InvalidFile, match=message) as raised:
        read_gguf(file)
    assert "; accepted: " in str(raised.value)
    assert len(str(raised.value)) < 500 + len(str(file))


@pytest.mark.parametrize(("content", "message"), SAFETENSORS.values(), ids=SAFETENSORS)
def test_a_broken_safetensors_file(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(InvalidFile, match=message) as raised:
        read_safetensors(file)
    assert "; accepted: " in str(raised.value)
    assert len(str(raised.value)) < 500 + len(str(file))


@pytest.mark.parametrize("name", ["x.gguf", "x.safetensors", "x.safetensors.index.json", "config.json", "x"])
@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/dev/null"])
def test_only_regular_files_are_opened(tmp_path: Path, name: str, target: str) -> None:
    if target == "pipe":
        os.mkfifo(tmp_path / "pipe")
    (tmp_path / name).symlink_to(target)
    for read in (inspect_file, lambda path: read_model(str(path))):
        with pytest.raises(InvalidFile, match="it is a pipe, a socket or a device|there is no config.json"):
            read(tmp_path / name)


def test_a_directory_where_a_file_should_be(tmp_path: Path) -> None:
    for read in (read_gguf, read_safetensors):
        with pytest.raises(InvalidFile, match="it is a directory"):
            read(tmp_path)


@pytest.fixture(scope="session")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small valid file of each kind, and its scratch directory's path."""
    folder = tmp_path_factory.mktemp("valid")
    write_gguf(folder / "tiny.gguf", TINY)
    shards = write_safetensors(folder / "st", TINY)
    return {"gguf": (folder / "tiny.gguf").read_bytes(), "safetensors": shards.read_bytes()}


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for files that are written again and again."""
    return tmp_path_factory.mktemp("fuzz")


def _only_our_errors(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    for read in (inspect_file, lambda path: read_model(str(path))):
        told = ""
        try:
            read(file)
        except SizerError as error:
            told = str(error)
        assert told.isprintable()


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
@given(data=st.data())
def test_random_bytes(scratch: Path, kind: str, data: st.DataObject) -> None:
    rest = data.draw(st.binary(max_size=300))
    start = b"GGUF\3\0\0\0" if kind == "gguf" else struct.pack("<Q", data.draw(st.integers(0, 300)))
    _only_our_errors(scratch / f"x.{kind}", start + rest)


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
@given(data=st.data())
def test_a_valid_file_cut_and_changed(
    scratch: Path, valid: dict[str, bytes], kind: str, data: st.DataObject
) -> None:
    content = bytearray(valid[kind])
    header = 6000 if kind == "gguf" else 3000
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, header))
        piece = data.draw(
            st.one_of(st.binary(min_size=1, max_size=1), st.just(bytes(8)), st.just(b"\xff" * 8))
        )
        content[at : at + len(piece)] = piece
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, header)) :]
    _only_our_errors(scratch / f"x.{kind}", bytes(content))
