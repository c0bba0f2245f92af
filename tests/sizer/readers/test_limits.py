"""Files just within the readers' limits, and beyond: a second and 200 MB at most."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sizer.errors import InvalidFile
from sizer.readers.gguf_header import read_gguf
from tests.sizer.readers.handmade import (
    ARRAY,
    STRING,
    array,
    entry,
    gguf_bytes,
    pair,
    safetensors_bytes,
    stored_bytes,
    text,
)

# Read by a process of its own, so that its memory is only its own: seconds and the high-water mark in KiB.
_MEASURED = """
import sys, time
from pathlib import Path
from sizer.errors import SizerError
from sizer.readers.inspection import inspect_file
start = time.process_time()
try:
    inspect_file(Path(sys.argv[1]))
except SizerError:
    pass
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(time.process_time() - start, peak[0])
"""


def _many(count: int) -> dict[str, Any]:
    return {str(n): {"dtype": "U8", "shape": [1], "data_offsets": [n, n + 1]} for n in range(count)}


BOMBS = {
    "tensors.gguf": lambda: gguf_bytes(
        [], [entry(f"blk.{n}", [1, 1, 1, 1], 24, 32 * n) for n in range(99_000)], 99_000 * 32
    ),
    "tokens.gguf": lambda: gguf_bytes([pair("k", ARRAY, array(STRING, 1_999_999, bytes(8 * 1_999_999)))]),
    "nested.gguf": lambda: gguf_bytes([pair("k", ARRAY, array(ARRAY, 1999, array(STRING, 0) * 1999))]),
    "texts.gguf": lambda: gguf_bytes([pair(str(n), STRING, text("\U0001f600" * 250_000)) for n in range(12)]),
    "tensors.safetensors": lambda: safetensors_bytes(_many(49_000), 49_000),
    "cut.safetensors": lambda: safetensors_bytes(_many(49_000), 48_999),
    "names.safetensors": lambda: safetensors_bytes({str(n): 0 for n in range(399_000)}),
    "objects.safetensors": lambda: safetensors_bytes(b'{"a":[' + b'{"":{}},' * 130_000 + b"0]}"),
    "packed.safetensors": lambda: stored_bytes(
        {
            f"{n}.{part}": ("U8", [1, 1])
            for n in range(12_000)
            for part in ("qweight", "qzeros", "scales", "g_idx")
        }
    ),
    "mlx.safetensors": lambda: stored_bytes(
        {f"{n}.{part}": ("U32", [1, 1]) for n in range(16_000) for part in ("weight", "scales", "biases")}
    ),
    "emoji.safetensors": lambda: safetensors_bytes(
        b'{"__metadata__":{"a":"' + "\U0001f600".encode() + b"a" * 12_000_000 + b'"}}'
    ),
}


@pytest.mark.timing
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_what_is_just_within_the_limits_takes_a_second_and_200_mb_at_most(
    tmp_path: Path, root: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(BOMBS[name]())
    # the fastest of three: what the reader needs, not what a busy machine adds
    measured = [_measure(tmp_path / name, root) for _ in range(3)]
    assert min(seconds for seconds, _ in measured) < 1.0
    assert max(peak_kib for _, peak_kib in measured) < 200_000_000 // 1024


def _measure(file: Path, root: Path) -> tuple[float, int]:
    """Processor seconds and peak KiB of one reading in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(file)],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
        timeout=60,
    )
    seconds, peak_kib = done.stdout.split()
    return float(seconds), int(peak_kib)


def test_a_file_that_is_mostly_holes(tmp_path: Path) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", ARRAY, STRING, 1_000_000)
    with (tmp_path / "x.gguf").open("wb") as stream:
        stream.write(head)
        for _ in range(300):
            stream.write(struct.pack("<Q", 2**20))
            stream.seek(2**20, os.SEEK_CUR)
        stream.truncate(2**40)
    with pytest.raises(InvalidFile, match="'k': a longer header .* at most 268435456 bytes"):
        read_gguf(tmp_path / "x.gguf")
