"""Model files made by hand, byte by byte, and by the packages that define the formats."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from sizer.architecture import Architecture
from sizer.families.hf_config import config_from_architecture
from sizer.formats.ggml import TYPES
from sizer.formats.gguf import gguf_name
from sizer.formats.llamacpp import mix
from sizer.readers.gguf_header import read_gguf
from sizer.readers.safetensors_header import DTYPE_BITS
from sizer.tensors import tensor_specs

TINY = Architecture(
    name="tiny",
    vocab_size=96,
    num_layers=2,
    hidden_size=64,
    intermediate_size=160,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    max_position_embeddings=512,
)
UNTIED = replace(TINY, tie_embeddings=False)

# Value types of GGUF metadata.
UINT8, UINT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 0, 4, 6, 7, 8, 9, 10
UINT16, INT32 = 2, 5


def text(value: str | bytes) -> bytes:
    """A GGUF text: length, bytes."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    """A metadata entry."""
    return text(key) + struct.pack("<I", kind) + value


def u32(key: str, value: int) -> bytes:
    """A metadata entry of a 32-bit number."""
    return pair(key, UINT32, struct.pack("<I", value))


def array(kind: int, count: int, data: bytes = b"") -> bytes:
    """An array value: element type, count, elements."""
    return struct.pack("<IQ", kind, count) + data


def entry(name: str | bytes, dims: Sequence[int], type_id: int, offset: int) -> bytes:
    """A row of the tensor directory; dimensions in ggml's order, negative ones as two's complement."""
    sizes = b"".join(struct.pack("<Q", n % 2**64) for n in dims)
    return text(name) + struct.pack("<I", len(dims)) + sizes + struct.pack("<IQ", type_id, offset)


def gguf_bytes(
    pairs: Sequence[bytes] = (),
    entries: Sequence[bytes] = (),
    data: int = 0,
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """A GGUF file with that many bytes of data after its aligned header."""
    tensors, keys = counts or (len(entries), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + b"".join(pairs) + b"".join(entries)
    return head + bytes(-len(head) % 32 + data)


def safetensors_bytes(header: Any, data: int = 0) -> bytes:
    """A .safetensors file; the header as JSON, or bytes as they are."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + bytes(data)


def stored_bytes(stored: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
    """A .safetensors file of zeros: type and shape by name, one after the other."""
    header, at = {}, 0
    for name, (dtype, shape) in stored.items():
        size = prod(shape) * DTYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return safetensors_bytes(header, at)


def write_gguf(
    path: Path, architecture: Architecture, *, family: str = "llama", format: str = "Q8_0"
) -> None:
    """The model as the gguf package writes it, in the types that llama.cpp gives its tensors; all zeros."""
    a = architecture
    writer = gguf.GGUFWriter(path, family)
    writer.add_name(a.name)
    writer.add_file_type(getattr(gguf.LlamaFileType, f"MOSTLY_{format}"))
    writer.add_block_count(a.num_layers)
    writer.add_context_length(a.max_position_embeddings)
    writer.add_embedding_length(a.hidden_size)
    writer.add_feed_forward_length(a.intermediate_size)
    writer.add_head_count(a.num_heads)
    writer.add_head_count_kv([a.num_kv_heads] * a.num_layers)
    writer.add_key_length(a.head_dim)
    writer.add_value_length(a.head_dim)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([f"token {n} ü" for n in range(a.vocab_size)])
    writer.add_token_merges([f"a {n}" for n in range(a.vocab_size - 1)])
    writer.add_token_types([1] * a.vocab_size)
    writer.add_array("general.tags", ["text-generation", "tiny"])
    writer.add_rope_freq_base(10000.0)
    for stored in mix(format).assign(a, tensor_specs(a)):
        kind = gguf.GGMLQuantizationType[stored.type.name]
        rows = stored.spec.shape[:-1]
        data = np.zeros((*rows, TYPES[stored.type.name].row_bytes(stored.spec.row_length)), dtype=np.uint8)
        if stored.type.name == "F32":
            writer.add_tensor(gguf_name(stored.spec), np.zeros(stored.spec.shape, dtype=np.float32))
        else:
            writer.add_tensor(gguf_name(stored.spec), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def split_gguf(folder: Path, architecture: Architecture, *, parts: int = 2) -> list[Path]:
    """Split a model as llama-gguf-split does: all keys in the first part, three in each."""
    write_gguf(folder / "whole.gguf", architecture, format="F16")
    whole = read_gguf(folder / "whole.gguf")
    a = "llama"
    first = [
        pair("general.architecture", STRING, text(a)),
        pair("general.name", STRING, text("tiny")),
        u32(f"{a}.block_count", architecture.num_layers),
        u32(f"{a}.embedding_length", architecture.hidden_size),
        u32(f"{a}.feed_forward_length", architecture.intermediate_size),
        u32(f"{a}.attention.head_count", architecture.num_heads),
        u32(f"{a}.attention.head_count_kv", architecture.num_kv_heads),
        u32(f"{a}.attention.key_length", architecture.head_dim),
        u32(f"{a}.context_length", architecture.max_position_embeddings),
        u32("general.file_type", 1),
    ]
    files = []
    for number in range(parts):
        mine = whole.tensors[number::parts]
        entries, at = [], 0
        for tensor in mine:
            type_id = {"F32": 0, "F16": 1}[tensor.type]
            entries.append(entry(tensor.name, tensor.shape[::-1], type_id, at))
            at += (tensor.num_bytes or 0) + -(tensor.num_bytes or 0) % 32
        keys = [
            pair("split.no", UINT16, struct.pack("<H", number)),
            pair("split.count", UINT16, struct.pack("<H", parts)),
            pair("split.tensors.count", INT32, struct.pack("<i", len(whole.tensors))),
        ]
        file = folder / f"tiny-{number + 1:05}-of-{parts:05}.gguf"
        file.write_bytes(gguf_bytes([*(first if number == 0 else []), *keys], entries, at))
        files.append(file)
    return files


def write_safetensors(folder: Path, architecture: Architecture, *, shards: int = 1) -> Path:
    """The model as the safetensors package writes it, config.json beside it; the path to read."""
    from safetensors.numpy import save_file

    folder.mkdir(exist_ok=True)
    config = json.dumps(config_from_architecture(architecture))
    (folder / "config.json").write_text(config, encoding="utf-8")
    specs = tensor_specs(architecture)
    if shards == 1:
        arrays = {spec.name: np.zeros(spec.shape, dtype=np.float16) for spec in specs}
        save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
        return folder / "model.safetensors"
    weight_map: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        mine = specs[number::shards]
        save_file({spec.name: np.zeros(spec.shape, dtype=np.float16) for spec in mine}, folder / name)
        weight_map |= {spec.name: name for spec in mine}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}), encoding="utf-8")
    return index
