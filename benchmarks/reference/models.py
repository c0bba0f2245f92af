"""The models of the reference table: shapes of a few sizes that differ in one axis at a time.

Each stands for several deployed models: weights trained once are scored in every format of FORMATS, as the
search would score them. Files are those of llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

from search.config.axes import sharing_label
from search.config.config import BYTE_VOCABULARY
from search.space.formats import file_bytes
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.tensors import count_parameters, tensor_specs

FORMATS = ("F16", "Q8_0", "Q4_0")
RUNTIME = "llama.cpp"

_ONCE = LayerSharing()
_TWICE = LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2)
_IN_TURN = LayerSharing(strategy=SharingStrategy.REPEAT_ALL, repeat=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceModel:
    """A shape of the table; `size` is the group of about equal weights that it belongs to."""

    size: str
    architecture: Architecture

    @property
    def name(self) -> str:
        """Return the group and the shape, such as "s 2x64 2/2h ff160"."""
        return f"{self.size} {self.architecture.name}"

    @property
    def num_parameters(self) -> int:
        """Number of weights, shared blocks counted once."""
        return count_parameters(tensor_specs(self.architecture)).total

    def file_bytes(self, format_name: str) -> int:
        """Return the bytes of its file in a format."""
        return file_bytes(self.architecture, format_name, RUNTIME)


def _model(
    size: str,
    layers: int,
    width: int,
    ffn: int,
    *,
    head_dim: int = 32,
    kv_heads: int | None = None,
    sharing: LayerSharing = _ONCE,
    vocab_size: int = BYTE_VOCABULARY,
) -> ReferenceModel:
    heads = width // head_dim
    kv_heads = heads if kv_heads is None else kv_heads
    shared = "" if sharing == _ONCE else f" {sharing_label(sharing)}"
    words = "" if vocab_size == BYTE_VOCABULARY else f" v{vocab_size}"
    architecture = Architecture(
        name=f"{layers}x{width} {heads}/{kv_heads}h ff{ffn}{shared}{words}",
        vocab_size=vocab_size,
        num_layers=layers,
        hidden_size=width,
        intermediate_size=ffn,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        tie_embeddings=True,
        sharing=sharing,
    )
    return ReferenceModel(size=size, architecture=architecture)


MODELS = (
    # s: 107k to 121k weights
    _model("s", 2, 64, 160),
    _model("s", 1, 96, 160),
    _model("s", 3, 64, 96),
    _model("s", 8, 32, 96),
    _model("s", 2, 64, 160, head_dim=16),
    _model("s", 2, 64, 192, head_dim=16, kv_heads=1),
    _model("s", 3, 64, 96, kv_heads=1),
    _model("s", 2, 64, 160, sharing=_TWICE),
    _model("s", 3, 64, 96, sharing=_IN_TURN),
    _model("s", 1, 128, 32),
    _model("s", 2, 64, 128, vocab_size=512),
    # m: 197k to 225k weights
    _model("m", 2, 96, 192),
    _model("m", 4, 64, 160),
    _model("m", 1, 160, 160),
    _model("m", 2, 128, 64),
    _model("m", 3, 96, 96),
    _model("m", 6, 64, 96),
    _model("m", 8, 64, 32),
    _model("m", 3, 64, 256),
    _model("m", 4, 64, 160, head_dim=16),
    _model("m", 4, 64, 192, head_dim=16, kv_heads=1),
    _model("m", 2, 96, 192, sharing=_TWICE),
    _model("m", 4, 64, 160, sharing=_TWICE),
    _model("m", 2, 96, 160, vocab_size=512),
    # l: 393k to 414k weights
    _model("l", 4, 96, 192),
    _model("l", 3, 128, 160),
)
