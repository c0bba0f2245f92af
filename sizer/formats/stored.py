"""What a model file holds: its tensors, each with the type it is stored as, and bytes of the file by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, overload

from sizer.formats.levels import Rounding
from sizer.tensor_spec import Layers
from sizer.tensors import TensorSpec
from sizer.units import format_bytes


class StorageType(Protocol):
    """A way to store a tensor's weights, scales included."""

    @property
    def name(self) -> str:
        """Name in the terms of those who made it, such as "Q4_K"."""

    @property
    def levels(self) -> Rounding:
        """Values that stored weights can take."""

    def fits(self, row_length: int) -> bool:
        """Return True if rows of this length can be stored so."""

    def tensor_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes of a whole tensor, without the file's alignment."""


class StoredTensor(NamedTuple):
    """A tensor, the type it is stored as, and bytes of its data without the file's alignment."""

    spec: TensorSpec
    type: StorageType
    num_bytes: int


def stored_tensor(spec: TensorSpec, kind: StorageType) -> StoredTensor:
    """Return a tensor stored as that type."""
    return StoredTensor(spec, kind, kind.tensor_bytes(spec))


# A stored tensor that is alike in several layers: that of one of them, and the layers; (None,): outside them.
StoredGroup = tuple[StoredTensor, Layers]


class StoredModel(Sequence[StoredTensor]):
    """The stored tensors of a model by groups; each by itself only for those who ask for it."""

    def __init__(
        self, groups: tuple[StoredGroup, ...], list_tensors: Callable[[], tuple[StoredTensor, ...]]
    ) -> None:
        self.groups = groups
        self._list_tensors = list_tensors
        self._tensors: tuple[StoredTensor, ...] | None = None

    @property
    def tensors(self) -> tuple[StoredTensor, ...]:
        """Every tensor, listed when it is first asked for."""
        if self._tensors is None:
            self._tensors = self._list_tensors()
        return self._tensors

    def __len__(self) -> int:
        return sum(len(layers) for _, layers in self.groups)

    def __iter__(self) -> Iterator[StoredTensor]:
        return iter(self.tensors)

    @overload
    def __getitem__(self, at: int) -> StoredTensor: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[StoredTensor, ...]: ...
    def __getitem__(self, at: int | slice) -> StoredTensor | tuple[StoredTensor, ...]:
        return self.tensors[at]


def stored_groups(stored: Sequence[StoredTensor]) -> Sequence[StoredGroup]:
    """Return the groups of a model's tensors; of a plain list, each by itself."""
    if isinstance(stored, StoredModel):
        return stored.groups
    return [(tensor, (tensor.spec.layer,)) for tensor in stored]


def sum_bytes(stored: Sequence[StoredTensor]) -> int:
    """Return the bytes of all tensors."""
    return sum([tensor.num_bytes * len(layers) for tensor, layers in stored_groups(stored)])


class TokenizerBytes(NamedTuple):
    """Bytes of a file's metadata and tokenizer: the expected number and the range seen."""

    name: str
    value: int
    low: int
    high: int


# Default of general.alignment: tensor data of a GGUF file begins there (ggml docs/gguf.md).
HEADER_ALIGNMENT = 32


class FileBytes(NamedTuple):
    """Bytes of a model file by part; parts sum to `total`. No tokenizer: it is a separate file."""

    tensor_bytes: int
    padding_bytes: int
    directory_bytes: int
    tokenizer: TokenizerBytes | None = None
    tensor_range: tuple[int, int] | None = None  # least and most tensor bytes where they are not known

    @property
    def tokenizer_bytes(self) -> int:
        """Expected bytes of metadata and tokenizer inside this file."""
        return self.tokenizer.value if self.tokenizer else 0

    @property
    def total(self) -> int:
        """Bytes of the whole file."""
        return self.tensor_bytes + self.padding_bytes + self.directory_bytes + self.tokenizer_bytes

    def with_metadata(self, metadata_bytes: int | None) -> FileBytes:
        """Return the bytes of a file whose metadata, tokenizer included, is known to the byte.

        As it is for None, or where the tokenizer is a separate file.
        """
        if metadata_bytes is None or self.tokenizer is None:
            return self
        known = TokenizerBytes(
            name="of the study's files", value=metadata_bytes, low=metadata_bytes, high=metadata_bytes
        )
        padding = -(self.directory_bytes + metadata_bytes) % HEADER_ALIGNMENT
        return self._replace(tokenizer=known, padding_bytes=self.padding_bytes + padding)

    @property
    def low(self) -> int:
        """Bytes of the whole file with the smallest tokenizer seen for such a vocabulary."""
        least = self.tensor_range[0] - self.tensor_bytes if self.tensor_range else 0
        return self.total - self.tokenizer_bytes + (self.tokenizer.low if self.tokenizer else 0) + least

    @property
    def high(self) -> int:
        """Bytes of the whole file with the largest tokenizer seen for such a vocabulary."""
        most = self.tensor_range[1] - self.tensor_bytes if self.tensor_range else 0
        return self.total - self.tokenizer_bytes + (self.tokenizer.high if self.tokenizer else 0) + most


class Weights(NamedTuple):
    """Weights of a model as a file stores them."""

    file: FileBytes
    bytes_by_type: dict[str, int]
    stored_weights: int  # weights in the file; a block that llama.cpp unrolls counts once per repeat
    own: tuple[
        StoredTensor, ...
    ] = ()  # tensors of a file that exists, with its types; else the format's count

    @property
    def bits_per_weight(self) -> float:
        """Return bits of tensor data per weight in the file, norms and embeddings included."""
        return 8 * self.file.tensor_bytes / self.stored_weights

    @classmethod
    def of(
        cls, file: FileBytes, stored: Sequence[StoredTensor], metadata_bytes: int | None = None
    ) -> Weights:
        """Sum a format's tensors by type; `metadata_bytes` are those of a file's metadata, where known."""
        by_type: dict[str, int] = {}
        weights = 0
        for tensor, layers in stored_groups(stored):
            name = tensor.type.name
            by_type[name] = by_type.get(name, 0) + len(layers) * tensor.num_bytes
            weights += len(layers) * tensor.spec.num_elements
        return cls(file.with_metadata(metadata_bytes), by_type, weights)

    def notes(self, format_name: str) -> tuple[str, ...]:
        """Return what should be known about the bytes of weights and tokenizer."""
        total = max(sum(self.bytes_by_type.values()), 1)
        largest_first = sorted(self.bytes_by_type.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{name} {size / total:.1%}" for name, size in largest_first)
        who = format_name.removesuffix("'s own")  # of a file that names no type: "the file's own"
        return (
            f"{who} stores these tensors as {shares} of the bytes",
            _tokenizer_note(self.file.tokenizer),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the bytes as plain JSON values."""
        return {
            "tensor_bytes": self.file.tensor_bytes,
            "file_bytes": self.file.total,
            "file_bytes_low": self.file.low,
            "file_bytes_high": self.file.high,
            "bits_per_weight": self.bits_per_weight,
            "bytes_by_type": dict(self.bytes_by_type),
        }


# Models of one vocabulary have one.
@lru_cache(maxsize=64)
def _tokenizer_note(t: TokenizerBytes | None) -> str:
    if t is None:
        return "the tokenizer is a separate file and not counted"
    if t.low == t.high:
        return f"metadata and tokenizer: {t.name}, {format_bytes(t.value)}"
    spread = f"({format_bytes(t.low)} to {format_bytes(t.high)})"
    return f"tokenizer: {t.name}, {format_bytes(t.value)} in the file {spread}"
