"""Controls of the size page: the model's source, and sliders for the fields of its shape."""

from __future__ import annotations

from explorer.state import Choice, Flag, Number
from explorer.widgets.model_source import COUNT, FIRST
from explorer.widgets.size_link import MODEL, NAME, SHAPE, START
from sizer.architecture import Architecture, SharingStrategy

# The first values of the sliders are those of the shape that they start from.
LAYERS = Number(
    "layers", "Layers", FIRST.num_layers, 1, 80, 1, "Stored blocks; sharing runs each more than once."
)
WIDTH = Number("width", "Hidden size", FIRST.hidden_size, 32, 4096, 32, "hidden_size")
FFN = Number(
    "ffn",
    "FFN size",
    FIRST.intermediate_size,
    32,
    32768,
    32,
    "intermediate_size, of each expert in a mixture; keeps its ratio to the hidden size when that changes.",
)
HEADS = Number("heads", "Query heads", FIRST.num_heads, 1, 64, 1)
KV_HEADS = Number("kv_heads", "KV heads", FIRST.num_kv_heads, 1, 64, 1, "Must divide the number of heads.")
HEAD_DIM = Number("head_dim", "Head size", FIRST.head_dim, 8, 256, 8)
VOCABULARY = Number("vocabulary", "Vocabulary", FIRST.vocab_size, 2, 300_000, 1)
TIED = Flag("tied", "Embedding tied to the head", FIRST.tie_embeddings)
SHARING = Choice("sharing", "Sharing", "none", tuple(s.value for s in SharingStrategy))
REPEAT = Number("repeat", "Block repeats", 2, 2, 8, 1)
ENDS = Number("ends", "Unshared ends", 1, 1, 8, 1, "Blocks at each end that run once, with sharing `middle`.")

SOURCE = (START, MODEL, COUNT, SHAPE, NAME)
SLIDERS = (LAYERS, WIDTH, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY, TIED, SHARING, REPEAT, ENDS)


def ffn_field(architecture: Architecture) -> str:
    """Return the field that the slider of the FFN size changes: of a mixture, the size of each expert."""
    return "intermediate_size" if architecture.moe_intermediate_size is None else "moe_intermediate_size"
