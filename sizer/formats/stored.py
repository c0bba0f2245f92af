"""What a model file holds: its tensors, each with the type it is stored as, and bytes of the file by part."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sizer.tensors import TensorSpec


class StorageType(Protocol):
    """A way to store a tensor's weights, scales included."""

    @property
    def name(self) -> str:
        """Name in the terms of those who made it, such as "Q4_K"."""

    def fits(self, row_length: int) -> bool:
        """Whether rows of this length can be stored so."""

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Bytes of a whole tensor, without the file's alignment."""


class StoredTensor(NamedTuple):
    """A tensor, the type it is stored as, and bytes of its data without the file's alignment."""

    spec: TensorSpec
    type: StorageType
    num_bytes: int


# The layers of a model, and the models of a search, have the same few shapes again and again.
_SIZES: dict[tuple[StorageType, tuple[int, ...]], int] = {}
_MOST_SIZES = 65_536


def stored_tensor(spec: TensorSpec, kind: StorageType) -> StoredTensor:
    """A tensor stored as that type."""
    key = (kind, spec.shape)
    size = _SIZES.get(key)
    if size is None:
        if len(_SIZES) >= _MOST_SIZES:
            _SIZES.clear()
        size = _SIZES[key] = kind.tensor_bytes(spec)
    return StoredTensor(spec, kind, size)


class TokenizerBytes(NamedTuple):
    """Bytes of a file's metadata and tokenizer: the expected number and the range seen."""

    name: str
    value: int
    low: int
    high: int


class FileBytes(NamedTuple):
    """Bytes of a model file by part; parts sum to `total`. No tokenizer: it is a file of its own."""

    tensor_bytes: int
    padding_bytes: int
    directory_bytes: int
    tokenizer: TokenizerBytes | None = None

    @property
    def tokenizer_bytes(self) -> int:
        """Expected bytes of metadata and tokenizer inside this file."""
        return self.tokenizer.value if self.tokenizer else 0

    @property
    def total(self) -> int:
        """Bytes of the whole file."""
        return self.tensor_bytes + self.padding_bytes + self.directory_bytes + self.tokenizer_bytes

    @property
    def low(self) -> int:
        """Bytes of the whole file with the smallest tokenizer seen for such a vocabulary."""
        return self.total - self.tokenizer_bytes + (self.tokenizer.low if self.tokenizer else 0)

    @property
    def high(self) -> int:
        """Bytes of the whole file with the largest tokenizer seen for such a vocabulary."""
        return self.total - self.tokenizer_bytes + (self.tokenizer.high if self.tokenizer else 0)
