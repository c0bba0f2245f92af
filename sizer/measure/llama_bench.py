"""Reads what llama-bench printed on another machine (`-o json` or `-o jsonl`) as samples to fit.

Fields as in llama.cpp tools/llama-bench/llama-bench.cpp (`test::get_fields`, llama-cpp-python 0.3.36).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidFile, shown
from sizer.formats import gguf
from sizer.formats.llamacpp import BASE_TYPES, mix
from sizer.formats.stored import StoredTensor
from sizer.measure.bench_models import PREFIX, bench_file_bytes, bench_model
from sizer.measure.speed_fit import ModelWork, Sample, model_work
from sizer.readers.regular_file import open_regular
from sizer.registry import models
from sizer.tensors import count_parameters, tensor_specs
from sizer.workload import CACHE_TYPES

ACCEPTED = "the output of llama-bench -o json or -o jsonl"
_T = TypeVar("_T")
_FIELD = "from-llama-bench"
_MAX_BYTES = 64 * 2**20
_MAX_COUNT = 10**15
_MAX_NS = 10**15
# Some converters keep a few more weights (RoPE factors), and formats differ by far more than this.
_SAME_PARAMETERS = 1e-4
_SAME_BYTES = 2e-3

# Backends as llama-bench names them, and as device files do.
_BACKENDS = {
    "cuda": "cuda",
    "rocm": "rocm",
    "hip": "rocm",
    "metal": "metal",
    "mtl": "metal",
    "vulkan": "vulkan",
    "opencl": "opencl",
    "webgpu": "webgpu",
}


class BenchResults(NamedTuple):
    """What a llama-bench file says: samples, what ran where, and files whose model is not known."""

    samples: tuple[Sample, ...]
    processor: str
    backend: str
    threads: int
    build: str
    date: str
    repeats: int
    unknown: tuple[str, ...]


class _Setup(NamedTuple):
    """What must not change within one profile."""

    backend: str
    threads: int
    type_k: str
    gpu_layers: int


def read_llama_bench(path: Path, *, threads: int | None = None) -> BenchResults:
    """Samples of a llama-bench file; `threads` picks one of several thread counts in it.

    InvalidFile in one line for a file that is cut off, is something else, or names no known model.
    """
    entries = _entries(path)
    runs = [_Run(path.name, number, entry) for number, entry in enumerate(entries, start=1)]
    counts = sorted({run.setup.threads for run in runs})
    if threads is not None:
        runs = [run for run in runs if run.setup.threads == threads]
    if len(counts) > 1 and not (threads and runs):
        raise InvalidFile(
            f"{_FIELD}: {path.name} holds runs with {', '.join(map(str, counts))} threads; "
            "accepted: --threads with one of them"
        )
    if not runs:
        raise InvalidFile(f"{_FIELD}: {path.name} has no runs with {threads} threads, only with {counts[0]}")
    setups = dict.fromkeys(run.setup for run in runs)
    if len(setups) > 1:
        first, second, *_ = setups
        raise InvalidFile(
            f"{_FIELD}: {path.name} mixes set-ups ({first} and {second}); accepted: one backend, cache type "
            "and number of GPU layers in a file"
        )
    known = {run.model: _known_model(run) for run in runs}
    samples = tuple(s for run in runs if (s := _sample(run, known[run.model])) is not None)
    unknown = tuple(name for (name, *_), work in known.items() if work is None)
    if not any(s.decode_s for s in samples):
        why = f"; not known: {', '.join(unknown[:3])}" if unknown else ""
        raise InvalidFile(
            f"{_FIELD}: {path.name} has no generation speed (n_gen > 0, n_prompt 0) of a known model{why}; "
            f"accepted: files that `sizer export-bench-models` writes ({PREFIX}-*.gguf) and models of "
            "`sizer models`"
        )
    last, setup = runs[-1], next(iter(setups))
    return BenchResults(
        samples=samples,
        processor=last.text("gpu_info") if setup.backend != "cpu" else last.text("cpu_info"),
        backend=setup.backend,
        threads=setup.threads,
        build=last.text("build_commit"),
        date=last.text("test_time")[:10],
        repeats=min(len(run.seconds) for run in runs),
        unknown=unknown,
    )


def _entries(path: Path) -> list[dict[str, Any]]:
    """The objects of the file: JSON lists and objects one after another, as loops over models leave them."""
    with open_regular(path, ACCEPTED, _FIELD) as (stream, _):
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise InvalidFile(f"{_FIELD}: {path.name} is larger than {_MAX_BYTES} bytes; accepted: {ACCEPTED}")
    # Windows' shells redirect as UTF-16 and put a byte-order mark before UTF-8
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding, "replace").strip()
    if not text:
        raise InvalidFile(f"{_FIELD}: {path.name} is empty; accepted: {ACCEPTED}")
    found: list[Any] = []
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            line = text.count("\n", 0, at) + 1
            raise InvalidFile(
                f"{_FIELD}: {path.name} is not complete JSON from line {line} on: it was cut off or is "
                f"something else; accepted: {ACCEPTED}"
            ) from None
        found += value if isinstance(value, list) else [value]
        while at < len(text) and text[at].isspace():
            at += 1
    if not found or not all(isinstance(entry, dict) for entry in found):
        raise InvalidFile(f"{_FIELD}: {path.name} holds no list of runs; accepted: {ACCEPTED}")
    return found


class _Run:
    """One object of the file, its fields checked."""

    def __init__(self, origin: str, number: int, entry: dict[str, Any]) -> None:
        self._where = f"{_FIELD}: {origin}: run {number}"
        self._entry = entry
        if not isinstance(entry.get("model_filename"), str):
            raise self._wrong("model_filename", "text")
        self.file_name = entry["model_filename"].replace("\\", "/").rsplit("/", 1)[-1]
        self.size = self._whole("model_size", low=1)
        self.n_params = self._whole("model_n_params", low=1)
        self.n_prompt, self.n_gen = self._whole("n_prompt"), self._whole("n_gen")
        self.n_depth = self._whole("n_depth", default=0)
        self.n_ubatch = self._whole("n_ubatch", low=1, default=512)
        self.seconds = self._seconds()
        self.setup = _Setup(
            self._backend(), self._whole("n_threads", low=1), self._cache_type(), self._gpu_layers()
        )

    @property
    def model(self) -> tuple[str, int, int]:
        """What tells one file from another: name, bytes of tensors, weights."""
        return self.file_name, self.size, self.n_params

    def text(self, key: str) -> str:
        """A field's text; empty where there is none."""
        value = self._entry.get(key)
        return value if isinstance(value, str) else ""

    def _wrong(self, key: str, accepted: str) -> InvalidFile:
        return InvalidFile(
            f"{self._where}: {key} must be {accepted}, got {shown(self._entry.get(key))}; "
            f"accepted: {ACCEPTED}"
        )

    def _whole(self, key: str, *, low: int = 0, default: int | None = None) -> int:
        value = self._entry.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= _MAX_COUNT:
            raise self._wrong(key, f"a whole number of at least {low}")
        return value

    def _seconds(self) -> list[float]:
        """Seconds of each repeat, or of their mean where they are not listed."""
        listed = self._entry.get("samples_ns")
        values = listed if isinstance(listed, list) and listed else [self._entry.get("avg_ns")]
        seconds = []
        for value in values:
            # written so that it refuses what is no number, and NaN
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MAX_NS:
                raise self._wrong("samples_ns" if values is listed else "avg_ns", "nanoseconds above 0")
            seconds.append(value / 1e9)
        return seconds

    def _cache_type(self) -> str:
        name = (self.text("type_k") or "f16").upper()
        if name not in CACHE_TYPES:
            raise self._wrong("type_k", f"one of {', '.join(CACHE_TYPES)}")
        return name

    def _gpu_layers(self) -> int:
        value = self._entry.get("n_gpu_layers", 0)
        return value if isinstance(value, int) else 0

    def _backend(self) -> str:
        named = self.text("backends").lower()
        if self._gpu_layers() == 0:
            return "cpu"
        return next((ours for theirs, ours in _BACKENDS.items() if theirs in named), "cpu")


def _sample(run: _Run, model: ModelWork | None) -> Sample | None:
    """The run as a sample; None for prompt and generation in one, or for a prompt behind another."""
    if model is None or (run.n_prompt > 0) == (run.n_gen > 0) or (run.n_prompt and run.n_depth):
        return None
    seconds = median(run.seconds)
    if run.n_gen:
        return Sample(model=model, depth_tokens=run.n_depth + run.n_gen / 2, decode_s=seconds / run.n_gen)
    return Sample(model=model, prompt_tokens=run.n_prompt, ubatch_tokens=run.n_ubatch, prefill_s=seconds)


def _known_model(run: _Run) -> ModelWork | None:
    """The work of the model a run is of, by its file's name or its counts; None where it is not known."""
    bench = bench_model(run.file_name)
    if bench is not None:
        stored = bench.store()
        size = sum(tensor.num_bytes for tensor in stored)
        if size != run.size:
            raise InvalidFile(
                f"{_FIELD}: {run.file_name}: model_size must be {size}, got {run.size}: that file is not the "
                "one that `sizer export-bench-models` writes"
            )
        return _work(run, bench.architecture, stored, bench_file_bytes(bench))
    found = _catalogue_model(run)
    if found is None:
        return None
    architecture, stored = found
    return _work(run, architecture, stored, gguf.file_bytes(architecture.vocab_size, stored).total)


def _work(
    run: _Run, architecture: Architecture, stored: Sequence[StoredTensor], file_bytes: int
) -> ModelWork:
    return model_work(run.file_name, architecture, stored, file_bytes=file_bytes, cache_type=run.setup.type_k)


def _catalogue_model(run: _Run) -> tuple[Architecture, tuple[StoredTensor, ...]] | None:
    """A known model of that many weights, stored in the format whose bytes agree."""
    file_name = run.file_name.lower()
    shapes = [row.architecture.unrolled() for row in models().values()]
    same = [
        a
        for a in shapes
        if abs(count_parameters(tensor_specs(a)).total - run.n_params) <= _SAME_PARAMETERS * run.n_params
    ]
    for architecture in _first(same, lambda a: a.name.lower() in file_name):
        try:
            layouts = {
                name: mix(name).assign(architecture, tensor_specs(architecture)) for name in BASE_TYPES
            }
        except InvalidArchitecture:
            continue
        close = [
            name
            for name, stored in layouts.items()
            if abs(sum(t.num_bytes for t in stored) - run.size) <= _SAME_BYTES * run.size
        ]
        for name in _first(close, lambda n: n.lower() in file_name):
            return architecture, layouts[name]
    return None


def _first(items: Iterable[_T], preferred: Callable[[_T], bool]) -> list[_T]:
    """The items, those preferred before the others."""
    return sorted(items, key=lambda item: not preferred(item))
