"""The C kernels, compiled for this machine once per source and compiler, and loaded with ctypes."""

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

from search.training.fused.bindings import bind

_FOLDER = Path(__file__).parent
_SOURCES = ("kernels.c", "avx512/attention.c", "avx512/products.c", "avx512/swiglu.c")
_HEADERS = ("exports.h", "kernels.h", "avx512/vectors.h")
# No -ffast-math: linked into a library it would switch off denormals for the whole process. These flags allow
# the same vector instructions; sums are marked in the source one by one.
_FLAGS = ("-O3", "-std=c11", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden")
_COMPILE_LIMIT_S = 120

# Folder of the compiled kernels instead of the user's cache folder; "off" trains without them.
CACHE_VARIABLE = "SIZER_KERNELS"


class NoKernels(Exception):
    """The kernels cannot be compiled or loaded here; training falls back to torch's own operations."""


def kernels(dtype: torch.dtype) -> ctypes.CDLL:
    """Load the kernels for bfloat16 or float32 activations. NoKernels gives the reason if there are none."""
    loaded = _attempted(dtype)
    if isinstance(loaded, NoKernels):
        raise loaded
    return loaded


@cache
def _attempted(dtype: torch.dtype) -> ctypes.CDLL | NoKernels:
    """Load once: a compiler that fails must not be tried for every model."""
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
        raise NoKernels(f"compiled kernels cannot be kept or loaded: {error}") from None
    bind(loaded, library, dtype)
    return loaded


def missing_speed(loaded: ctypes.CDLL, dtype: torch.dtype) -> str | None:
    """Return why the kernels are not the fastest of their kind; None if they are."""
    if not loaded.shared_constant(b"OpenMP"):
        return "the compiler has no OpenMP that fits torch's: kernels use one thread"
    if hasattr(loaded, "attention"):
        return None
    if dtype is not torch.bfloat16:
        return "matrices are multiplied in float32: the AVX-512 kernels multiply bfloat16"
    return "this processor or compiler has no AVX-512 with bfloat16 products"


def _folder() -> Path:
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        folder = Path(chosen)
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sizer"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _processor() -> str:
    """Return what -march=native depends on: a home folder may be shared by machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile(compiler: str, options: list[str], library: Path) -> None:
    """Compile in a temporary folder and rename, so that two processes at once do no harm."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder, "kernels.so")
        objects = [str(Path(folder, f"{number}.o")) for number in range(len(_SOURCES))]
        problem = ""
        for attempt in (("-march=native", "-fopenmp"), ("-march=native",), ("-fopenmp",), ()):
            # link torch's own OpenMP: a second one would keep a second set of threads spinning
            runtime = _openmp() if "-fopenmp" in attempt else []
            if sys.platform == "linux":  # fail now, not at loading, if it needs another OpenMP
                runtime = [*runtime, "-Wl,--no-undefined"]
            steps = (
                *(
                    [compiler, *options, *attempt, "-c", str(_FOLDER / source), "-o", object_file]
                    for source, object_file in zip(_SOURCES, objects, strict=True)
                ),
                [compiler, "-shared", *objects, *runtime, "-lm", "-o", str(built)],
            )
            problem = next(filter(None, map(_run, steps)), "")
            if not problem:
                built.replace(library)
                return
    raise NoKernels(f"{compiler} cannot compile the kernels: {problem}")


def _openmp() -> list[str]:
    libraries = (Path(torch.__file__).parent / "lib").iterdir()
    own = sorted(str(p) for p in libraries if p.name.startswith(("libgomp", "libiomp", "libomp")))
    return own[:1] or ["-fopenmp"]


def _run(command: list[str]) -> str:
    """Run a command; return an empty string if it succeeded, else one line of its errors."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"still running after {_COMPILE_LIMIT_S} s"
    if done.returncode == 0:
        return ""
    return next((line for line in done.stderr.splitlines() if "error" in line), f"exit {done.returncode}")
