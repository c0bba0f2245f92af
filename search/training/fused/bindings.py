"""Argument types of the compiled functions, read from exports.h, and the check of what C and Python share."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sizer.errors import InvalidFile

ADAMW_CHUNK = 16384  # weights that an optimizer thread takes at a time

Argument = Tensor | int | float | None


class AdamwTensor(ctypes.Structure):
    """`adamw_tensor` of exports.h."""

    _fields_ = (
        ("count", ctypes.c_long),
        ("weight", ctypes.c_void_p),
        ("mean", ctypes.c_void_p),
        ("square", ctypes.c_void_p),
        ("grad_real", ctypes.c_void_p),
        ("grad_float", ctypes.c_void_p),
        ("copy", ctypes.c_void_p),
        ("rate", ctypes.c_float),
        ("decay", ctypes.c_float),
    )


class Function(NamedTuple):
    """C types of an exported function, without `const`: "long", "float *"."""

    result: str
    arguments: tuple[str, ...]
    is_optional: bool  # whether only the AVX-512 tier has it


_SCALARS: dict[str, Any] = {
    "void": None,
    "long": ctypes.c_long,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}
_ELEMENTS = {
    "float": torch.float32,
    "double": torch.float64,
    "int64_t": torch.int64,
    "bf16_pair": torch.int32,
    "char": torch.uint8,
}


def _read_exports() -> Mapping[str, Function]:
    header = (Path(__file__).parent / "exports.h").read_text(encoding="utf-8")
    avx512 = header.index("#ifdef SIZER_AVX512")
    found = {}
    for match in re.finditer(r"^(\w+) (\w+)\(([^)]*)\);", header, re.MULTILINE):
        result, name, arguments = match.groups()
        kinds = (a.replace("const ", "").strip() for a in arguments.split(","))
        types = tuple(f"{kind.split()[0]} *" if "*" in kind else kind.split()[0] for kind in kinds)
        found[name] = Function(result, types, match.start() > avx512)
    return found


FUNCTIONS = _read_exports()


def bind(library: ctypes.CDLL, path: Path, dtype: torch.dtype) -> None:
    """Set the types of every function of a library for a type of activations. InvalidFile if C differs."""
    for name, function in FUNCTIONS.items():
        if not hasattr(library, name):
            if function.is_optional:
                continue
            raise InvalidFile(f"kernels: {str(path)!r} has no function {name!r} of exports.h")
        bound = getattr(library, name)
        bound.argtypes = [_SCALARS.get(kind, ctypes.c_void_p) for kind in function.arguments]
        bound.restype = _SCALARS[function.result]
    for name, value in _shared_constants(dtype).items():
        found = library.shared_constant(name.encode())
        if found != value:
            raise InvalidFile(
                f"kernels: {str(path)!r} has {found} as {name}, Python uses {value}; accepted: equal values"
            )


def _shared_constants(dtype: torch.dtype) -> dict[str, int]:
    """Return the constants of kernels.c that Python relies on, in bytes where they are sizes."""
    offsets = {f"offset of {name}": getattr(AdamwTensor, name).offset for name, _ in AdamwTensor._fields_}
    return {
        "size of adamw_tensor": ctypes.sizeof(AdamwTensor),
        **offsets,
        "size of real": dtype.itemsize,
        "size of bf16_pair": _ELEMENTS["bf16_pair"].itemsize,
        "ADAMW_CHUNK": ADAMW_CHUNK,
    }


def c_arguments(name: str, values: tuple[Argument, ...], real: torch.dtype) -> list[object]:
    """Return a call's arguments converted to the function's types; tensors must be contiguous and of them."""
    converted: list[object] = []
    for kind, value in zip(FUNCTIONS[name].arguments, values, strict=True):
        if kind.endswith("*"):
            if isinstance(value, Tensor):
                expected = _ELEMENTS.get(kind.removesuffix(" *"), real)
                assert value.dtype is expected, f"{name}: {kind} is {expected}, got {value.dtype}"
                assert value.is_contiguous(), f"{name}: {kind}"
                value = value.data_ptr()
            assert value is None or isinstance(value, int), f"{name}: {kind}, got {value!r}"
            converted.append(ctypes.c_void_p(value))
        else:
            converted.append(_SCALARS[kind](value))
    return converted
