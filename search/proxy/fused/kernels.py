"""The C passes compiled for this machine, once per source and compiler, and called through ctypes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent
_SOURCES = ("attention.c", "kernels.c", "products.c", "swiglu.c")
_HEADERS = ("kernels.h", "vectors.h")
# No -ffast-math: linked into a library it would switch off denormals for the whole process. These allow the
# same vector instructions; sums are marked in the source one by one.
_FLAGS = ("-O3", "-std=c11", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden")
_COMPILE_LIMIT_S = 120

# Compiled passes live here instead of the user's cache folder; "off" trains without them.
CACHE_VARIABLE = "SIZER_KERNELS"


class NoKernels(Exception):
    """The passes cannot be compiled or loaded here; training falls back to torch's own operations."""


def kernels(dtype: torch.dtype) -> ctypes.CDLL:
    """The passes for activations of a type (bfloat16 or float32); NoKernels says why there are none."""
    loaded = _attempted(dtype)
    if isinstance(loaded, NoKernels):
        raise loaded
    return loaded


@cache
def _attempted(dtype: torch.dtype) -> ctypes.CDLL | NoKernels:
    """What `kernels` found the first time: a compiler that fails must not be tried for every model."""
    try:
        return _load(dtype)
    except NoKernels as error:
        return error


def _load(dtype: torch.dtype) -> ctypes.CDLL:
    if os.environ.get(CACHE_VARIABLE) == "off":
        raise NoKernels(f"switched off by {CACHE_VARIABLE}=off")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoKernels("no C compiler (cc) was found")
    text = b"".join((_FOLDER / file).read_bytes() for file in (*_SOURCES, *_HEADERS))
    name = "bf16" if dtype is torch.bfloat16 else "fp32"
    options = [*_FLAGS, *(("-DREAL_BF16",) if dtype is torch.bfloat16 else ())]
    key = sha256(text + repr((compiler, options, torch.__version__, _processor())).encode()).hexdigest()[:16]
    try:
        library = _folder() / f"kernels-{name}-{key}.so"
        if not library.is_file():
            _compile(compiler, options, library)
        loaded = ctypes.CDLL(str(library))
    except OSError as error:
        raise NoKernels(f"compiled passes cannot be kept or loaded: {error}") from None
    loaded.adamw.restype = ctypes.c_double
    for name in ("attention_room", "product_room"):  # not there for every processor
        if hasattr(loaded, name):
            getattr(loaded, name).restype = ctypes.c_long
    return loaded


def _folder() -> Path:
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        folder = Path(chosen)
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sizer"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _processor() -> str:
    """What -march=native depends on: a home folder may be shared by machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile(compiler: str, options: list[str], library: Path) -> None:
    """Compile beside the library and rename, so that two processes at once do no harm."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder, "kernels.so")
        compiled = {str(_FOLDER / source): str(Path(folder, f"{source}.o")) for source in _SOURCES}
        problem = ""
        for attempt in (("-march=native", "-fopenmp"), ("-march=native",), ("-fopenmp",), ()):
            # torch's own OpenMP: a second one would keep a second set of threads spinning
            runtime = _openmp() if "-fopenmp" in attempt else []
            if sys.platform == "linux":  # a want of another OpenMP is seen now, not when loaded
                runtime = [*runtime, "-Wl,--no-undefined"]
            steps = (
                *([compiler, *options, *attempt, "-c", c, "-o", o] for c, o in compiled.items()),
                [compiler, "-shared", *compiled.values(), *runtime, "-lm", "-o", str(built)],
            )
            problem = next(filter(None, map(_run, steps)), "")
            if not problem:
                built.replace(library)
                return
    raise NoKernels(f"{compiler} cannot compile them: {problem}")


def _openmp() -> list[str]:
    libraries = (Path(torch.__file__).parent / "lib").iterdir()
    own = sorted(str(p) for p in libraries if p.name.startswith(("libgomp", "libiomp", "libomp")))
    return own[:1] or ["-fopenmp"]


def _run(command: list[str]) -> str:
    """Empty if the command succeeded, else one line of what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no end after {_COMPILE_LIMIT_S} s"
    if done.returncode == 0:
        return ""
    return next((line for line in done.stderr.splitlines() if "error" in line), f"exit {done.returncode}")
