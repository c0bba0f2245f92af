"""Reads broken files with bounded memory: `python -m tests.sizer.readers.fuzzing KIND COUNT SEED`.

Prints one JSON object: files read, refused, and every file that did something else than that.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

from sizer.errors import SizerError
from sizer.readers import read_model
from sizer.readers.inspection import inspect_file
from sizer.registry import models
from tests.sizer.readers import mutation
from tests.sizer.readers.handmade import (
    ARRAY,
    BOOL,
    FLOAT32,
    STRING,
    TINY,
    UINT32,
    UINT64,
    array,
    entry,
    gguf_bytes,
    pair,
    text,
    write_gguf,
    write_safetensors,
)

SECONDS = 1.0
MEMORY_BYTES = 200_000_000
MESSAGE_LETTERS = 1000
_IN_MEMORY = Path("/dev/shm")
_SMALL = replace(TINY, vocab_size=32, num_layers=1)

# What is written where, and what is then read: a file is a name and its bytes.
Files = Callable[[Random], dict[str, bytes]]


def _gguf(folder: Path) -> tuple[Files, str]:
    valid = [_one_of_every_kind()]
    for number, (model, family) in enumerate(
        [(_SMALL, "llama"), (replace(_SMALL, qkv_bias=True, tie_embeddings=False), "qwen2")]
    ):
        write_gguf(folder / f"{number}.gguf", model, family=family, format="Q4_0")
        valid.append((folder / f"{number}.gguf").read_bytes())
    return lambda random: {"x.gguf": mutation.broken_gguf(random, random.choice(valid))}, "x.gguf"


def _one_of_every_kind() -> bytes:
    """A GGUF file with every value type, arrays in arrays, and tensors of no and of four dimensions."""
    scalars = [pair(f"scalar.{kind}", kind, bytes(size)) for kind, size in mutation.SCALAR_BYTES.items()]
    arrays = [
        pair("texts", ARRAY, array(STRING, 2, text("a") + text("b"))),
        pair("many texts", ARRAY, array(STRING, 70, text("ab") * 70)),
        pair("numbers", ARRAY, array(FLOAT32, 3, bytes(12))),
        pair("many numbers", ARRAY, array(UINT64, 1030, bytes(8 * 1030))),
        pair("nested", ARRAY, array(ARRAY, 2, array(BOOL, 2, bytes(2)) + array(STRING, 1, text("c")))),
        pair("general.alignment", UINT32, (64).to_bytes(4, "little")),
        pair("split.count", UINT32, (2).to_bytes(4, "little")),
    ]
    tensors = [entry("none", [], 0, 0), entry("four", [32, 2, 1, 1], 8, 64), entry("unknown", [1], 99, 192)]
    return gguf_bytes([*scalars, *arrays], tensors, 64 * 8)


def _safetensors(folder: Path) -> tuple[Files, str]:
    path = write_safetensors(folder, _SMALL)  # with config.json beside it
    valid = path.read_bytes()
    return lambda random: {path.name: mutation.broken_safetensors(random, valid)}, path.name


def _index(folder: Path) -> tuple[Files, str]:
    path = write_safetensors(folder, _SMALL, shards=3)
    valid = {file.name: file.read_bytes() for file in folder.glob("*.safetensors*")}

    def files(random: Random) -> dict[str, bytes]:
        new = dict(valid)
        if random.random() < 0.6:
            new[path.name] = mutation.broken_index(random, valid[path.name])
        else:
            shard = random.choice(sorted(valid.keys() - {path.name}))
            new[shard] = mutation.broken_safetensors(random, valid[shard])
        return new

    return files, path.name


def _config(folder: Path) -> tuple[Files, str]:
    configs: list[dict[str, Any]] = [dict(row.config) for row in models().values()]
    keys = sorted({key for config in configs for key in config} | {"sharing", "head_dim", "layer_types"})
    return lambda random: {"config.json": mutation.broken_config(random, configs, keys)}, "config.json"


KINDS: dict[str, Callable[[Path], tuple[Files, str]]] = {
    "gguf": _gguf,
    "safetensors": _safetensors,
    "index": _index,
    "config": _config,
}


def _bound_memory() -> None:
    """Allow the process so many bytes more than it has now; beyond them Python raises MemoryError."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        held = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, resource.RLIM_INFINITY))


def _read(read: Callable[[Path], object], file: Path) -> tuple[bool, list[str]]:
    """Whether a file was refused, and what happened beside a result or one clear SizerError in time."""
    start = process_time()
    told = ""
    wrong = []
    try:
        read(file)
    except SizerError as error:
        told = str(error)
    except Exception as error:  # whatever else comes out is what is looked for
        wrong.append(f"{type(error).__name__}: {str(error)[:200]}")
    if (seconds := process_time() - start) > SECONDS:
        wrong.append(f"took {seconds:.2f} s")
    if not told.isprintable() or len(told) > MESSAGE_LETTERS:
        wrong.append(f"a message of {len(told)} letters: {told[:200]!r}")
    return told != "", wrong


def fuzz(kind: str, count: int, seed: int) -> dict[str, Any]:
    """Read that many broken files of a kind; the first 20 wrong ones with their bytes in hexadecimal."""
    wrong: list[dict[str, Any]] = []
    refused = 0
    # memory where there is such a folder: twenty thousand small files are slow to write on some disks
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as name:
        folder = Path(name)
        make, to_read = KINDS[kind](folder)
        _bound_memory()
        written: dict[str, bytes] = {}
        for number in range(count):
            files = make(Random(f"{kind} {seed} {number}"))
            for file, content in files.items():
                if written.get(file) != content:
                    (folder / file).write_bytes(content)
            written = files
            was_refused, problems = _read(lambda path: inspect_file(path).to_dict(), folder / to_read)
            if kind == "gguf":  # the others' architecture is that of config.json
                problems += _read(lambda path: read_model(str(path)), folder / to_read)[1]
            refused += was_refused
            if problems and len(wrong) < 20:
                wrong.append({"number": number, "problems": problems, "bytes": files[to_read][:4000].hex()})
    return {"files": count, "refused": refused, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(fuzz(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
