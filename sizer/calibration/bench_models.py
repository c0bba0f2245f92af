"""Bench models: GGUF files with random weights, in shapes and block types that separate a device's costs.

One block type per file: the cost of a mix such as Q4_K_M is the sum over its types. Speed does not depend on
the values of finite weights. Written with the `gguf` package (extra `calibrate`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from sizer.architecture import Architecture
from sizer.errors import MeasurementError
from sizer.formats.ggml import TYPES
from sizer.formats.gguf import exact_file_bytes, gguf_name
from sizer.formats.gguf_metadata import Entry, encoded, llama_entries
from sizer.formats.stored import StoredTensor, stored_tensor
from sizer.tensors import tensor_specs

PREFIX = "sizer-bench"
CONTEXT_TOKENS = 4096
LONG_PROMPT = 1024


def bench_shape(
    name: str, *, layers: int, width: int, mlp: int, kv_heads: int, vocab: int = 32000
) -> Architecture:
    """Return a Llama of that shape with heads of 64 and tied embeddings."""
    return Architecture(
        name=name,
        vocab_size=vocab,
        num_layers=layers,
        hidden_size=width,
        intermediate_size=mlp,
        num_heads=width // 64,
        num_kv_heads=kv_heads,
        head_dim=64,
        max_position_embeddings=CONTEXT_TOKENS,
    )


# From many thin layers to few wide ones, one nearly all head; every width divides into blocks of 256. Two
# are below two megabytes, where the cost of layers and tokens is nearly all.
SHAPES: Mapping[str, Architecture] = {
    shape.name: shape
    for shape in (
        bench_shape("deep", layers=48, width=256, mlp=768, kv_heads=2),
        bench_shape("middle", layers=20, width=512, mlp=1536, kv_heads=4),
        bench_shape("wide", layers=6, width=1024, mlp=2816, kv_heads=4),
        bench_shape("head", layers=3, width=768, mlp=2048, kv_heads=4, vocab=49152),
        bench_shape("large", layers=12, width=1024, mlp=3584, kv_heads=8),
        bench_shape("tiny", layers=2, width=256, mlp=512, kv_heads=2, vocab=512),
        bench_shape("thin", layers=12, width=64, mlp=256, kv_heads=1, vocab=512),
    )
}

# Where each type keeps its 16-bit scales within a block, from the structs of ggml/src/ggml-common.h
# (llama.cpp as in llama-cpp-python 0.3.36). Random bytes there could be infinite or no number.
_SCALE_OFFSETS: Mapping[str, tuple[int, ...]] = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
    "TQ1_0": (52,),
    "TQ2_0": (64,),
}
TYPE_NAMES = ("F16", *_SCALE_OFFSETS)
_SCALE = b"\x00\x0a"  # a 16-bit float of 1.8e-4, little-endian
_F16_HIGH_BYTES = bytes((byte & 0x83) | 0x24 for byte in range(256))  # magnitudes from 2**-6 to 2**-5

_SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)))
_SPECIAL_TYPES = (2, 3, 3, *(6,) * 256)  # gguf.TokenType: UNKNOWN, CONTROL, CONTROL, BYTE
_NORMAL = 1
_RMS_EPS = 1e-5
_ROPE_BASE = 10000.0


class BenchModel(NamedTuple):
    """A shape with every matrix in one block type."""

    architecture: Architecture
    type_name: str

    @property
    def name(self) -> str:
        """Such as "deep-Q8_0"."""
        return f"{self.architecture.name}-{self.type_name}"

    @property
    def file_name(self) -> str:
        """Such as "sizer-bench-deep-Q8_0.gguf"."""
        return f"{PREFIX}-{self.name}.gguf"

    @property
    def is_long(self) -> bool:
        """True if it is timed with a long prompt, too: attention grows with its square."""
        return self.name in _LONG

    def store(self) -> tuple[StoredTensor, ...]:
        """Return every tensor of the file: matrices in the block type, vectors in F32."""
        matrix, vector = TYPES[self.type_name], TYPES["F32"]
        specs = tensor_specs(self.architecture)
        return tuple(stored_tensor(s, vector if len(s.shape) == 1 else matrix) for s in specs)


def bench_models() -> tuple[BenchModel, ...]:
    """Return the models a device is fitted to: two types in every shape, the others in two or three."""
    return tuple(BenchModel(SHAPES[shape], name) for name, shapes in _PLAN.items() for shape in shapes)


_PLAN: Mapping[str, tuple[str, ...]] = {
    "Q8_0": tuple(SHAPES),
    "Q4_K": tuple(name for name, shape in SHAPES.items() if shape.hidden_size % 256 == 0),
    "Q4_0": ("deep", "middle", "wide", "thin"),
    "Q6_K": ("middle", "wide"),
    "Q5_0": ("deep", "wide"),
    "Q5_K": ("middle", "wide"),
    "Q5_1": ("middle", "head"),
    "Q3_K": ("middle", "wide"),
    "Q2_K": ("middle", "wide"),
    "TQ1_0": ("middle", "wide"),
    "F16": ("deep", "head"),
}


# Of each shape with many attention operations for its weights one
_LONG = ("middle-Q4_K", "wide-Q8_0", "thin-Q8_0")


def bench_model(file_name: str) -> BenchModel | None:
    """Return the bench model of that file name, in any folder; None for any other file."""
    plain = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    shape, _, type_name = plain.removeprefix(f"{PREFIX}-").removesuffix(".gguf").partition("-")
    found = BenchModel(SHAPES[shape], type_name) if shape in SHAPES and type_name in TYPE_NAMES else None
    return found if found is not None and found.file_name == plain else None


def bench_file_bytes(model: BenchModel) -> int:
    """Return the exact bytes of the file that `write_bench_model` writes."""
    return random_file_bytes(model.architecture, model.store())


def random_file_bytes(architecture: Architecture, stored: Sequence[StoredTensor]) -> int:
    """Return the exact bytes of the file that `write_random_model` writes, metadata included."""
    return exact_file_bytes(metadata_bytes(architecture), stored)


def _tokens(vocab_size: int) -> list[str]:
    plain = (f"\u2581t{n}" for n in range(vocab_size - len(_SPECIAL_TOKENS)))
    return [*_SPECIAL_TOKENS, *plain]


def _metadata(a: Architecture) -> tuple[Entry, ...]:
    """Return all metadata of the file."""
    tokens = _tokens(a.vocab_size)
    return (
        *llama_entries(
            a, context_tokens=a.max_position_embeddings, norm_epsilon=_RMS_EPS, rope_base=_ROPE_BASE
        ),
        Entry("tokenizer.ggml.model", "STRING", "llama"),
        Entry("tokenizer.ggml.tokens", "STRING[]", tokens),
        Entry("tokenizer.ggml.scores", "FLOAT32[]", [-float(n) for n in range(len(tokens))]),
        Entry(
            "tokenizer.ggml.token_type",
            "INT32[]",
            [*_SPECIAL_TYPES, *(_NORMAL,) * (len(tokens) - len(_SPECIAL_TYPES))],
        ),
        Entry("tokenizer.ggml.bos_token_id", "UINT32", 1),
        Entry("tokenizer.ggml.eos_token_id", "UINT32", 2),
    )


def metadata_bytes(architecture: Architecture) -> int:
    """Return the bytes of the metadata of a file with random weights, tokenizer included."""
    return len(encoded(_metadata(architecture)))


def require_gguf() -> None:
    """Raise MeasurementError if the package that writes GGUF files is not installed."""
    _package("gguf")


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MeasurementError(
            f"calibrate: needs the package {name} (extra `calibrate`), which cannot be imported ({error}); "
            'accepted: pip install "sizer[calibrate]"'
        ) from None


def write_bench_model(path: Path, model: BenchModel) -> None:
    """Write the file of a bench model."""
    write_random_model(path, model.architecture, model.store())


def write_random_model(path: Path, architecture: Architecture, stored: Sequence[StoredTensor]) -> None:
    """Write a Llama with random weights, under another name until the file is whole.

    MeasurementError where the package gguf is missing or the disk refuses.
    """
    gguf, numpy = _package("gguf"), _package("numpy")
    part = path.with_name(f"{path.name}.part")
    try:
        writer = gguf.GGUFWriter(part, "llama")
        for key, kind, value in _metadata(architecture)[1:]:  # the writer adds general.architecture
            if kind.endswith("[]"):
                of = getattr(gguf.GGUFValueType, kind[:-2])
                writer.add_key_value(key, value, gguf.GGUFValueType.ARRAY, sub_type=of)
            else:
                writer.add_key_value(key, value, getattr(gguf.GGUFValueType, kind))
        pool = os.urandom(_POOL_BYTES)
        for tensor in stored:
            shape, name = tensor.spec.shape, gguf_name(tensor.spec)
            if tensor.type.name == "F32":
                writer.add_tensor(name, numpy.ones(shape, dtype=numpy.float32))
                continue
            data = numpy.frombuffer(_random_blocks(tensor, pool), dtype=numpy.uint8)
            kind = gguf.GGMLQuantizationType[tensor.type.name]
            writer.add_tensor(name, data.reshape(*shape[:-1], -1), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(path)
    except OSError as error:
        raise MeasurementError(
            f"bench models: cannot write {str(path)!r}: {error.strerror or error}"
        ) from None
    finally:
        part.unlink(missing_ok=True)


# Random bytes are repeated after this many: an odd number, so that blocks do not repeat in step.
_POOL_BYTES = 2**22 + 13


def _random_blocks(tensor: StoredTensor, pool: bytes) -> bytearray:
    """Return blocks of random weights with small finite scales, in the layout of the type."""
    size = tensor.num_bytes
    data = bytearray((pool * -(-size // len(pool)))[:size])
    if tensor.type.name == "F16":
        data[1::2] = data[1::2].translate(_F16_HIGH_BYTES)
        return data
    step = TYPES[tensor.type.name].block_bytes
    for offset in _SCALE_OFFSETS[tensor.type.name]:
        for byte, value in enumerate(_SCALE):
            data[offset + byte :: step] = bytes([value]) * (size // step)
    return data
