"""Projectors (mmproj): GGUF files that turn pictures or sound into tokens of a language model.

Keys: gguf-py's constants.py, ClipVision and ClipAudio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sizer.readers.file_tensor import tensor_bytes
from sizer.readers.gguf_header import GgufHeader

_MODALITIES = ("vision", "audio")
_SIZES = (
    ("layers", "block_count"),
    ("hidden_size", "embedding_length"),
    ("feed_forward_length", "feed_forward_length"),
    ("heads", "attention.head_count"),
    ("image_size", "image_size"),
    ("patch_size", "patch_size"),
    ("projection_dim", "projection_dim"),
)
_LARGEST = 2**31
_TENSORS = (("vision", "v."), ("audio", "a."))
# Before projector_type: a key for each kind that is true in its files.
_OLDER_KEYS = (
    *(("has_minicpmv_projector", "minicpmv"), ("has_qwen2vl_merger", "qwen2vl_merger")),
    *(("has_glm_projector", "glm"), ("has_llava_projector", "mlp")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projector:
    """A projector: what it reads, its kind, its encoder's sizes by modality, weights and bytes."""

    type: str | None
    sizes: dict[str, dict[str, int]]
    parameters: int
    num_bytes: int | None

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it reads: "vision", "audio" or both."""
        return tuple(self.sizes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "type": self.type,
            "modalities": list(self.modalities),
            "encoders": self.sizes,
            "parameters": self.parameters,
            "num_bytes": self.num_bytes,
        }


def read_projector(header: GgufHeader) -> Projector:
    """Read a projector from the header of its GGUF file."""
    sizes: dict[str, dict[str, int]] = {}
    kinds = []
    for modality in _MODALITIES:
        found = {name: header.metadata.get(f"clip.{modality}.{key}") for name, key in _SIZES}
        known = {name: n for name, n in found.items() if type(n) is int and 0 < n <= _LARGEST}
        if known or header.metadata.get(f"clip.has_{modality}_encoder") is True:
            sizes[modality] = known
        kinds.append(header.text(f"clip.{modality}.projector_type"))
    kind = header.text("clip.projector_type") or next((k for k in kinds if k), None) or _older_kind(header)
    if not sizes:
        names = [tensor.name for tensor in header.tensors]
        sizes = {kind: {} for kind, start in _TENSORS if any(name.startswith(start) for name in names)}
    return Projector(
        type=None if kind is None else kind[:100],
        sizes=sizes,
        parameters=sum(tensor.num_elements for tensor in header.tensors),
        num_bytes=tensor_bytes(header.tensors),
    )


def _older_kind(header: GgufHeader) -> str | None:
    """Return the kind of a projector by the keys of older writers."""
    return next((kind for key, kind in _OLDER_KEYS if header.metadata.get(f"clip.{key}") is True), None)
