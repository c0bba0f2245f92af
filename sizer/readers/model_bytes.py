"""A model from what somebody pasted or uploaded: a config.json, or a GGUF file or the start of one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidFile
from sizer.families.hf_config import architecture_from_config
from sizer.readers.config_json import MAX_CONFIG_BYTES, parse_config
from sizer.readers.gguf_header import MAGIC, read_gguf_stream
from sizer.units import format_bytes

if TYPE_CHECKING:
    from sizer.readers.gguf_model import GgufModel

ACCEPTED = "the text of a Hugging Face config.json, or a .gguf file or its first megabytes"
PASTED = "config"
# Real headers of GGUF files reach 20 MB; `sizer app` makes it the server's own limit.
MAX_UPLOAD_MB = 32
_LONGEST_NAME = 100


def read_pasted(text: str) -> Architecture:
    """Read the architecture from a pasted config.json; errors name the key and what is accepted."""
    if not text.strip():
        raise InvalidFile(f"model: nothing was pasted; accepted: {ACCEPTED}")
    return architecture_from_config(parse_config(text.encode("utf-8", "replace"), "the pasted text"), PASTED)


def read_upload(stream: BinaryIO, file_name: str) -> Architecture:
    """Read the architecture from an uploaded file, by its first bytes; of a GGUF file only the header.

    The data of a GGUF file may be missing: the first megabytes of a large one are enough. Its name is a label
    and never a path that is opened.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    label = printable(file_name)
    start = stream.read(len(MAGIC))
    stream.seek(0)
    if start == MAGIC:
        # loaded when asked for: it knows every family by its tensors
        from sizer.readers.gguf_model import gguf_model

        found = gguf_model(read_gguf_stream(stream, size, Path(label), whole=False))
        if found.architecture is None:
            raise InvalidArchitecture(_what_is_known(found))
        return found.architecture
    if not size:
        raise InvalidFile(f"model: {label!r} is empty; accepted: {ACCEPTED}")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b""):
        raise InvalidFile(f"model: {label!r} is neither JSON nor GGUF; accepted: {ACCEPTED}")
    config = parse_config(stream.read(MAX_CONFIG_BYTES + 1), label)
    return replace(architecture_from_config(config), name=label.removesuffix(".json") or PASTED)


def _what_is_known(found: GgufModel) -> str:
    """Return in words what a file gives whose architecture is not read, and where there is more of it."""
    facts = found.facts
    assert facts is not None, "a file has an architecture or facts"
    assert facts.weights is not None, "a GGUF file has weights"
    size = format_bytes(facts.weights.file.tensor_bytes)
    return (
        f"model: {facts.not_read}; it has {facts.parameters.total:,} parameters in {size} of tensors, and "
        "`sizer estimate FILE.gguf` gives its cache"
    )


def printable(name: str) -> str:
    """Return the last part of a file's name, shortened to one printable line."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c if c.isprintable() else "?" for c in last[:_LONGEST_NAME]) or "file"
