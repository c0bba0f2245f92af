"""GGUF headers against files that the gguf package wrote, and its own reader's answers."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import gguf
import pytest
from gguf.constants import GGML_QUANT_SIZES

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidFile
from sizer.formats.llamacpp import BASE_TYPES
from sizer.readers import read_model
from sizer.readers.file_tensor import totals_by_type
from sizer.readers.gguf_architecture import architecture_from_gguf
from sizer.readers.gguf_header import read_gguf
from sizer.readers.gguf_types import FILE_TYPE_BY_ID, TYPE_BY_ID
from sizer.readers.gguf_values import LongArray
from tests.sizer.readers.handmade import (
    ARRAY,
    FLOAT32,
    STRING,
    TINY,
    UINT32,
    UNTIED,
    array,
    entry,
    gguf_bytes,
    pair,
    text,
    write_gguf,
)


def test_type_numbers_are_the_gguf_packages() -> None:
    known = {kind.value: (kind.name, *GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType}
    # Q8_1 is 36 bytes in ggml-common.h (a type of activations, never in a file); the package says 40
    known[9] = ("Q8_1", 32, 36)
    # newer than the package: ggml.h and ggml-common.h (block_q2_0) of llama.cpp
    known.setdefault(42, ("Q2_0", 64, 18))
    ours = {number: (t.name, t.block_elements, t.block_bytes) for number, t in TYPE_BY_ID.items()}
    assert ours == known


def test_file_type_numbers_are_the_gguf_packages() -> None:
    known = {
        kind.value: kind.name.removeprefix("ALL_").removeprefix("MOSTLY_") for kind in gguf.LlamaFileType
    }
    assert FILE_TYPE_BY_ID.items() <= known.items()
    # the last three are named only: which tensors get which type is not worked out for them
    assert set(FILE_TYPE_BY_ID.values()) <= {*BASE_TYPES, "NVFP4", "Q1_0"}


@pytest.mark.parametrize("architecture", [TINY, UNTIED], ids=["tied", "untied"])
@pytest.mark.parametrize("format_name", ["Q8_0", "Q4_0", "F16"])
def test_a_file_reads_as_the_gguf_package_reads_it(
    tmp_path: Path, architecture: Architecture, format_name: str
) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file, architecture, format=format_name)
    header, oracle = read_gguf(file), gguf.GGUFReader(file)
    assert (header.version, header.alignment, header.file_type) == (3, 32, format_name)
    assert header.header_bytes == oracle.data_offset
    assert header.file_bytes == file.stat().st_size
    ours = {t.name: (t.type, t.shape[::-1], t.offset, t.num_bytes) for t in header.tensors}
    theirs = {
        t.name: (t.tensor_type.name, tuple(t.shape.tolist()), t.data_offset, t.n_bytes)
        for t in oracle.tensors
    }
    assert ours == theirs
    metadata = {key: value for key, value in header.metadata.items() if not isinstance(value, LongArray)}
    assert metadata
    for key, value in metadata.items():
        told = oracle.fields[key].contents()
        assert (list(value) if isinstance(value, tuple) else value) == told, key
    assert header.metadata["llama.attention.head_count_kv"] == (2, 2)
    assert header.metadata["general.tags"] == ("text-generation", "tiny")
    assert header.metadata["tokenizer.ggml.tokens"] == LongArray(type="string", count=96)
    tokenizer = header.tokenizer
    assert (tokenizer.model, tokenizer.pre) == ("gpt2", "smollm")
    assert (tokenizer.num_tokens, tokenizer.num_merges) == (96, 95)
    assert architecture_from_gguf(header) == architecture == read_model(str(file))


def test_a_gguf_file_may_have_any_name(tmp_path: Path) -> None:
    write_gguf(tmp_path / "sha256-0a1b", TINY)
    assert read_model(str(tmp_path / "sha256-0a1b")) == TINY


@pytest.mark.parametrize(
    ("family", "changed"),
    [
        ("qwen2", replace(TINY, qkv_bias=True)),
        ("qwen3", replace(UNTIED, qk_norm=True, head_dim=32)),
        ("llama", replace(TINY, qkv_bias=True, attention_output_bias=True, mlp_bias=True)),
    ],
)
def test_biases_and_norms_are_read_from_the_tensors(
    tmp_path: Path, family: str, changed: Architecture
) -> None:
    write_gguf(tmp_path / "tiny.gguf", changed, family=family)
    assert read_model(str(tmp_path / "tiny.gguf")) == changed


def test_totals_worked_by_hand(tmp_path: Path) -> None:
    entries = [
        entry("token_embd.weight", [64, 3], 8, 0),  # Q8_0: 3 x 2 blocks of 34 bytes
        entry("output_norm.weight", [64], 0, 224),
        entry("packed", [64, 2], 36, 480),
        entry("scalar", [], 1, 512),
    ]
    file = tmp_path / "x.gguf"
    file.write_bytes(gguf_bytes([], entries, 514, version=2))
    totals = {t.type: (t.tensors, t.parameters, t.num_bytes) for t in totals_by_type(read_gguf(file).tensors)}
    assert totals == {
        "Q8_0": (1, 192, 204),
        "F32": (1, 64, 256),
        "unknown type 36": (1, 128, None),
        "F16": (1, 1, 2),
    }


def test_every_kind_of_value(tmp_path: Path) -> None:
    scalars: list[tuple[int, str, float]] = [
        (0, "<B", 7),
        (1, "<b", -7),
        (2, "<H", 7),
        (3, "<h", -7),
        (4, "<I", 7),
        (5, "<i", -7),
    ]
    scalars += [(6, "<f", 0.5), (7, "<?", True), (10, "<Q", 2**63), (11, "<q", -(2**62)), (12, "<d", 0.1)]
    pairs = [pair(f"k{kind}", kind, struct.pack(layout, value)) for kind, layout, value in scalars]
    nested = array(FLOAT32, 2, bytes(8)) + array(STRING, 1, text("in"))
    pairs.append(pair("nested", ARRAY, array(ARRAY, 2, nested)))
    pairs.append(pair("empty", ARRAY, array(STRING, 0)))
    pairs.append(pair("long", ARRAY, array(FLOAT32, 5000, bytes(20_000))))
    pairs.append(pair("last", STRING, text("here")))
    file = tmp_path / "x.gguf"
    file.write_bytes(gguf_bytes(pairs))
    metadata = read_gguf(file).metadata
    assert {key: metadata[key] for key in list(metadata)[:11]} == {f"k{k}": value for k, _, value in scalars}
    assert metadata["nested"] == LongArray(type="array", count=2)
    assert metadata["empty"] == ()
    assert metadata["long"] == LongArray(type="float32", count=5000)
    assert metadata["last"] == "here"


def test_an_alignment_of_its_own(tmp_path: Path) -> None:
    pairs = [pair("general.alignment", UINT32, struct.pack("<I", 256))]
    file = tmp_path / "x.gguf"
    head = gguf_bytes(pairs, [entry("t", [4], 0, 256)])
    file.write_bytes(head + bytes(-len(head) % 256 + 272))
    (tensor,) = read_gguf(file).tensors
    assert (tensor.offset, tensor.num_bytes) == (512, 16)


def _llama(**changed: bytes | None) -> list[bytes]:
    """Metadata of a model, a key changed or (None) left out."""
    values = {
        "embedding_length": pair("llama.embedding_length", UINT32, struct.pack("<I", 64)),
        "block_count": pair("llama.block_count", UINT32, struct.pack("<I", 1)),
        "feed_forward_length": pair("llama.feed_forward_length", UINT32, struct.pack("<I", 160)),
        "head_count": pair("llama.attention.head_count", UINT32, struct.pack("<I", 4)),
    }
    kept = {**values, **changed}
    return [pair("general.architecture", STRING, text("llama")), *(v for v in kept.values() if v is not None)]


EMBEDDING = entry("token_embd.weight", [64, 2], 0, 0)
NORM = entry("blk.0.attn_norm.weight", [64], 0, 512)


@pytest.mark.parametrize(
    ("pairs", "entries", "message"),
    [
        ([], [], "general.architecture: missing; accepted: llama, minicpm, qwen2, qwen3"),
        (
            [pair("general.architecture", STRING, text("mamba"))],
            [],
            "general.architecture: 'mamba'; accepted",
        ),
        (_llama(), [], "token_embd.weight: missing or not a matrix"),
        (_llama(), [EMBEDDING], "llama.block_count: 1, but tensors of block 0 are missing"),
        (_llama(block_count=None), [EMBEDDING, NORM], "llama.block_count: missing; accepted: a whole number"),
        (
            _llama(head_count=pair("llama.attention.head_count", STRING, text("4"))),
            [EMBEDDING, NORM],
            "llama.attention.head_count: '4'; accepted: a whole number",
        ),
        (
            _llama(
                feed_forward_length=pair(
                    "llama.feed_forward_length", ARRAY, array(UINT32, 2, struct.pack("<II", 160, 320))
                )
            ),
            [EMBEDDING, NORM],
            "llama.feed_forward_length: differs from layer to layer",
        ),
        (
            _llama(embedding_length=pair("llama.embedding_length", UINT32, struct.pack("<I", 65))),
            [EMBEDDING, NORM],
            "llama.embedding_length: 65, but token_embd.weight has rows of 64",
        ),
        (
            _llama(head_count=pair("llama.attention.head_count", UINT32, struct.pack("<I", 0))),
            [EMBEDDING, NORM],
            "llama.attention.key_length: missing, and 64 is not a multiple of 0 heads",
        ),
        (
            _llama(experts=pair("llama.expert_count", UINT32, struct.pack("<I", 8))),
            [EMBEDDING, NORM],
            "llama.expert_used_count: missing; accepted: a whole number",
        ),
        (
            _llama(split=pair("split.count", 2, struct.pack("<H", 3))),
            [EMBEDDING, NORM],
            "split.count: .* is one of 3 parts",
        ),
    ],
)
def test_what_is_no_architecture_of_ours_names_the_key(
    tmp_path: Path, pairs: list[bytes], entries: list[bytes], message: str
) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(gguf_bytes(pairs, entries, 768))
    header = read_gguf(file)
    with pytest.raises(InvalidArchitecture, match=message):
        architecture_from_gguf(header)


def test_a_name_cannot_move_the_cursor(tmp_path: Path) -> None:
    write_gguf(tmp_path / "x.gguf", replace(TINY, name="evil\x1b[2J\n"))
    assert read_model(str(tmp_path / "x.gguf")).name == "evil?[2J?"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="model: cannot read .*none.gguf.*No such file"):
        read_model(str(tmp_path / "none.gguf"))
