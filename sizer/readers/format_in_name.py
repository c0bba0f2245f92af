"""The format that the end of a model's name states, such as -AWQ, -4bit or -Q4_K_M-GGUF."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sizer.model_names import keys
from sizer.readers.stored_format import StoredFormat

_LETTERS = 200
_SOURCE = "the name's {} means weights stored as"
_FILE_END = re.compile(r"\.(?:gguf|safetensors)$")
# Groups that the tools take unless asked: GPTQ and AWQ write 128, MLX 64.
_WIDTH = r"(?:[-_](?P<bits>int[48]|[2-8]-?bit))?(?:[-_](?P<group>g\d+|\d+g))?"
_PACKED = re.compile(rf"[-_](?P<method>gptq|awq){_WIDTH}$")
_PACKED_BEFORE = re.compile(r"[-_.](?P<bits>int4|int8|w4a16|w8a16)(?:[-_](?P<method>gptq|awq))?$")
_BNB = re.compile(r"[-_]bnb(?:[-_](?P<bits>[48])-?bit)?$")
_MLX = re.compile(r"[-_](?P<bits>[2-8])-?bits?(?:[-_](?:g|gs)(?P<group>32|64|128))?(?:[-_](?:mlx|dwq))?$")
_GGUF = re.compile(
    r"[-_.:](?P<format>(?:ud-)?i?q[1-8](?:_[a-z0-9]+)*|t?q[12]_0|f16|bf16|f32|mxfp4)(?:[-_.]gguf)?$"
)
_WEB_LLM = re.compile(r"[-_](?P<format>q[0-8]f(?:16|32)(?:_[01])?)(?:[-_]mlc)?$")
_FLOATS = re.compile(r"[-_](?P<format>fp8|nvfp4|mxfp4)(?:[-_](?P<kind>dynamic|block|kv|mlx))*$")
_FP8 = {"dynamic": "fp8-channel", "block": "fp8-block128"}


def format_in_name(name: str, known: Iterable[str]) -> StoredFormat | None:
    """Return the format that a model's name ends in, with its runtime; None where it states none.

    Names in `known` are models' own, whatever they end in. The publisher decides where an end is ambiguous:
    mlx-community's mxfp4 is MLX's.
    """
    typed = name[:_LETTERS].strip()
    if keys(typed)[0] in {keys(own)[0] for own in known}:
        return None
    text = _FILE_END.sub("", typed.lower())
    of_mlx = "mlx" in text
    for find in (_gguf, _web_llm, _bitsandbytes, _packed, _mlx, _floats):
        found = find(text, of_mlx)
        if found is not None:
            return found
    return None


def _stored(end: str, described: str, runtime: str, format_name: str, exact: bool = True) -> StoredFormat:
    return StoredFormat(described, runtime, format_name, exact, _SOURCE.format(end.strip("-_.:")))


def _gguf(text: str, of_mlx: bool) -> StoredFormat | None:
    found = _GGUF.search(text)
    if found is None or of_mlx:
        return None
    name = found["format"].upper()
    if name in ("F16", "BF16", "F32", "MXFP4") and "gguf" not in found[0] and ":" not in found[0]:
        return None
    return _stored(name, f"{name} in a GGUF file", "llama.cpp", name)


def _web_llm(text: str, _of_mlx: bool) -> StoredFormat | None:
    found = _WEB_LLM.search(text)
    if found is None:
        return None
    return _stored(found["format"], f"MLC's {found['format']}", "web-llm", found["format"])


def _bitsandbytes(text: str, _of_mlx: bool) -> StoredFormat | None:
    found = _BNB.search(text)
    if found is None:
        return None
    if found["bits"] == "8":
        return _stored(found[0], "bitsandbytes, 8 bits", "transformers", "llm.int8")
    return _stored(found[0], "bitsandbytes nf4, scales quantized too", "transformers", "nf4-dq")


def _packed(text: str, _of_mlx: bool) -> StoredFormat | None:
    found = _PACKED.search(text)
    group = 128
    if found is not None:
        bits = int((found["bits"] or "4").strip("-bint"))
        group = int((found["group"] or "128").strip("g"))
    else:
        found = _PACKED_BEFORE.search(text)
        if found is None:
            return None
        bits = 4 if "4" in found["bits"] else 8
    method = found["method"] or "gptq"
    format_name = f"{method}-{bits}bit-g{group}"
    described = f"{method.upper()}, {bits} bits in groups of {group}"
    return _stored(found[0], described, "transformers", format_name, found["method"] is not None)


def _mlx(text: str, _of_mlx: bool) -> StoredFormat | None:
    found = _MLX.search(text)
    if found is None:
        return None
    groups = "" if found["group"] in (None, "64") else f"-g{found['group']}"
    described = f"MLX's {found['bits']} bits in groups of {found['group'] or 64}"
    return _stored(found[0], described, "mlx", f"{found['bits']}bit{groups}")


def _floats(text: str, of_mlx: bool) -> StoredFormat | None:
    found = _FLOATS.search(text)
    if found is None:
        return None
    if found["format"] == "fp8":
        kind = found["kind"] or ""
        return _stored(found[0], "FP8", "transformers", _FP8.get(kind, "fp8"), kind in _FP8)
    return _stored(found[0], found["format"].upper(), "mlx" if of_mlx else "transformers", found["format"])
