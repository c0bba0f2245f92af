"""Architecture of a GGUF file: metadata keys and tensor names of Llama-shaped models."""

from __future__ import annotations

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.readers.file_tensor import FileTensor
from sizer.readers.gguf_header import GgufHeader
from sizer.readers.gguf_values import LongArray

# Values of general.architecture whose blocks are Llama's: RMSNorm, rotary positions, gated SiLU MLP. What
# else they have (biases, query and key norms) is read from the tensors' names.
FAMILIES = ("llama", "minicpm", "qwen2", "qwen3")


def architecture_from_gguf(header: GgufHeader) -> Architecture:
    """Architecture that a GGUF header describes; InvalidArchitecture names the key that is in the way."""
    family = header.architecture_name
    if family not in FAMILIES:
        shown = "missing" if family is None else ascii(family)[:80]
        raise InvalidArchitecture(f"general.architecture: {shown}; accepted: {', '.join(FAMILIES)}")
    if header.split_count > 1:
        raise InvalidArchitecture(
            f"split.count: {str(header.path)!r} is one of {header.split_count} parts; accepted: a whole file"
        )
    if header.metadata.get(f"{family}.expert_count"):
        raise InvalidArchitecture(f"{family}.expert_count: mixtures of experts are not supported")
    tensors = {tensor.name: tensor for tensor in header.tensors}
    embedding = _embedding(tensors)
    hidden = _integer(header, f"{family}.embedding_length")
    if embedding[1] != hidden:
        raise InvalidArchitecture(
            f"{family}.embedding_length: {hidden}, but token_embd.weight has rows of {embedding[1]}"
        )
    heads = _integer(header, f"{family}.attention.head_count")
    layers = _integer(header, f"{family}.block_count")
    if f"blk.{layers - 1}.attn_norm.weight" not in tensors:
        raise InvalidArchitecture(
            f"{family}.block_count: {layers}, but tensors of block {layers - 1} are missing"
        )
    return Architecture(
        name=_printable(header.text("general.name") or header.path.stem),
        vocab_size=embedding[0],
        num_layers=layers,
        hidden_size=hidden,
        intermediate_size=_integer(header, f"{family}.feed_forward_length"),
        num_heads=heads,
        num_kv_heads=_integer(header, f"{family}.attention.head_count_kv", heads),
        head_dim=_head_dim(header, family, hidden, heads),
        tie_embeddings="output.weight" not in tensors,
        qk_norm="blk.0.attn_q_norm.weight" in tensors,
        qkv_bias="blk.0.attn_q.bias" in tensors,
        attention_output_bias="blk.0.attn_output.bias" in tensors,
        mlp_bias="blk.0.ffn_down.bias" in tensors,
        sub_norms="blk.0.attn_sub_norm.weight" in tensors,
        max_position_embeddings=_integer(header, f"{family}.context_length", 2048),
    )


def _printable(name: str) -> str:
    """A name that cannot move a terminal's cursor or fill its screen."""
    return "".join(c if c.isprintable() else "?" for c in name[:100])


def _embedding(tensors: dict[str, FileTensor]) -> tuple[int, int]:
    embedding = tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise InvalidArchitecture(
            "token_embd.weight: missing or not a matrix; accepted: a file with all weights"
        )
    return embedding.shape[0], embedding.shape[1]


def _head_dim(header: GgufHeader, family: str, hidden: int, heads: int) -> int:
    key = f"{family}.attention.key_length"
    if key not in header.metadata:
        if heads < 1 or hidden % heads:
            raise InvalidArchitecture(f"{key}: missing, and {hidden} is not a multiple of {heads} heads")
        return hidden // heads
    width = _integer(header, key)
    value_width = _integer(header, f"{family}.attention.value_length", width)
    if value_width != width:
        raise InvalidArchitecture(
            f"{family}.attention.value_length: {value_width}, but keys have {width}; accepted: the same"
        )
    return width


def _integer(header: GgufHeader, key: str, default: int | None = None) -> int:
    """A whole number, or a list of them (one a layer) that are all the same."""
    value = header.metadata.get(key, default)
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    if isinstance(value, tuple | LongArray):
        raise InvalidArchitecture(f"{key}: differs from layer to layer; accepted: one number for all layers")
    if type(value) is not int:
        shown = "missing" if value is None else ascii(value)[:80]
        raise InvalidArchitecture(f"{key}: {shown}; accepted: a whole number")
    return value
