"""Architecture of a GGUF file of a known family, from metadata keys and tensor names and shapes.

Keys: gguf-py's constants.py. Which tensors a family has: src/models/*.cpp (llama.cpp as in llama-cpp-python
0.3.36).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sizer.architecture import MAX_LAYERS, Architecture, BlockNorms, MlpKind, NormKind, PositionKind
from sizer.errors import InvalidArchitecture
from sizer.readers.file_tensor import FileTensor
from sizer.readers.gguf_header import GgufHeader
from sizer.readers.gguf_split import missing_text
from sizer.readers.gguf_values import LongArray
from sizer.tensors import count_parameters, tensor_specs

Tensors = Mapping[str, FileTensor]


class _Family(NamedTuple):
    """Facts that no tensor shows: the activation, where positions enter, how unmarked norms are read."""

    mlp: MlpKind = MlpKind.SWIGLU
    position: PositionKind = PositionKind.ROPE
    norm: NormKind | None = None  # None: layer norms where the norms have biases, else RMSNorm
    qk_norm_all_heads: bool = False
    experts: bool = False
    # Llama's own kinds: a file that holds more or less than these describe is still worth a comparison
    lenient: bool = False


_GELU = _Family(mlp=MlpKind.GELU)
_GEGLU = _Family(mlp=MlpKind.GEGLU)
_RELU2 = _Family(mlp=MlpKind.RELU2)
_COHERE = _Family(norm=NormKind.LAYERNORM_WITHOUT_BIAS)

# By the value of general.architecture. All else they have is read from names and shapes of the tensors.
FAMILIES: Mapping[str, _Family] = {
    "llama": _Family(lenient=True, experts=True),
    "minicpm": _Family(lenient=True),
    "qwen2": _Family(lenient=True),
    "qwen3": _Family(lenient=True),
    "arcee": _RELU2,
    "bloom": _GELU._replace(position=PositionKind.ALIBI),
    "cohere2": _COHERE,
    "command-r": _COHERE,
    "deci": _Family(),
    "ernie4_5": _Family(),
    "exaone": _Family(),
    "exaone4": _Family(),
    "falcon": _GELU,
    "gemma": _GEGLU,
    "gemma2": _GEGLU,
    "gemma3": _GEGLU,
    "glm4": _Family(),
    "gpt2": _GELU._replace(position=PositionKind.LEARNED),
    "gptneox": _GELU,
    "granite": _Family(),
    "granite_swa": _Family(),
    "granitemoe": _Family(experts=True),
    "hunyuan-dense": _Family(),
    "internlm2": _Family(),
    "lfm2": _Family(),
    "mistral3": _Family(),
    "nemotron": _RELU2,
    "olmo": _Family(norm=NormKind.NONE),
    "olmo2": _Family(qk_norm_all_heads=True),
    "olmoe": _Family(qk_norm_all_heads=True, experts=True),
    "phi2": _GELU,
    "phi3": _Family(),
    "qwen2moe": _Family(experts=True),
    "qwen2vl": _Family(),
    "qwen3moe": _Family(experts=True),
    "qwen3vl": _Family(),
    "smollm3": _Family(),
    "stablelm": _Family(),
    "starcoder2": _GELU,
    "xverse": _Family(),
}

# Layers in a cycle of windows, the last without one, of architectures whose files do not state it
# (llama.cpp, src/models: set_swa_pattern).
WINDOW_CYCLES = {
    "gpt-oss": 2,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "cohere2": 4,
    "exaone4": 4,
    "olmo2": 4,
}

# Architectures whose files list the layers that slide; llama.cpp reads nothing else of them.
_WITH_PATTERN = ("granite_swa",)

# Frequencies of rotary positions, computed when a file is written and not trained.
_NOT_WEIGHTS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def is_trained(tensor_name: str) -> bool:
    """True for the name of a tensor of weights; false for values computed when a file is written."""
    return not tensor_name.endswith(_NOT_WEIGHTS)


def architecture_from_gguf(header: GgufHeader) -> Architecture:
    """Read the architecture from a GGUF header; InvalidArchitecture names the key that prevents it."""
    kind = header.text("general.type")
    if kind not in (None, "model"):
        raise InvalidArchitecture(
            f"general.type: {ascii(kind)[:80]} in {str(header.path)!r}; accepted: model "
            "(sizer inspect shows others)"
        )
    name = header.architecture_name
    family = FAMILIES.get(name or "")
    if name is None or family is None:
        shown = "missing" if name is None else ascii(name)[:80]
        raise InvalidArchitecture(f"general.architecture: {shown}; accepted: {', '.join(FAMILIES)}")
    if not header.is_whole:
        raise InvalidArchitecture(
            f"split.count: {str(header.path)!r} is one of {header.split_count} parts; "
            f"accepted: a whole file, or all parts in one folder{missing_text(header)}"
        )
    if header.metadata.get(f"{name}.expert_count") and not family.experts:
        raise InvalidArchitecture(f"{name}.expert_count: mixtures of experts are not supported")
    tensors = {tensor.name: tensor for tensor in header.tensors}
    architecture = _architecture(header, name, family, tensors)
    if not family.lenient or architecture.num_experts:
        _require_same_count(header, name, architecture)
    return architecture


def _architecture(header: GgufHeader, name: str, family: _Family, tensors: Tensors) -> Architecture:
    vocab_size, row_length = _embedding(tensors)
    hidden = _integer(header, f"{name}.embedding_length")
    if row_length != hidden:
        raise InvalidArchitecture(
            f"{name}.embedding_length: {hidden}, but token_embd.weight has rows of {row_length}"
        )
    heads = _integer(header, f"{name}.attention.head_count")
    layers = _integer(header, f"{name}.block_count")
    if not 1 <= layers <= MAX_LAYERS or not any(
        tensor.startswith(f"blk.{layers - 1}.") for tensor in tensors
    ):
        raise InvalidArchitecture(
            f"{name}.block_count: {layers}, but tensors of block {layers - 1} are missing"
        )
    kv_heads, conv_layers = _kv_heads(header, name, heads, layers)
    # the first block with attention stands for all: whether others differ shows in the count of parameters
    first = next((layer for layer in range(layers) if layer not in conv_layers), 0)
    block = _Block(tensors, f"blk.{first}")
    head_dim = _head_dim(header, name, hidden, heads)
    return Architecture(
        name=_printable(header.text("general.name") or header.path.stem),
        vocab_size=vocab_size,
        num_layers=layers,
        hidden_size=hidden,
        **_ffn_sizes(header, name, layers),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        mlp=family.mlp,
        norm=family.norm or block.norm,
        position=family.position,
        block_norms=BlockNorms.PRE if family.norm is NormKind.NONE else block.norms,
        tie_embeddings="output.weight" not in tensors,
        head_bias="output.bias" in tensors,
        embedding_norm="token_embd_norm.weight" in tensors and "output_norm.weight" in tensors,
        qk_norm=block.has("attn_q_norm"),
        qk_norm_all_heads=family.qk_norm_all_heads,
        qk_norm_each_head=block.dimensions("attn_q_norm") == 2,
        fused_qkv=block.has("attn_qkv"),
        fused_gate_up=family.mlp.gated and block.has("ffn_up") and not block.has("ffn_gate"),
        qkv_bias=block.has("attn_q", "bias") or block.has("attn_qkv", "bias"),
        attention_output_bias=block.has("attn_output", "bias"),
        mlp_bias=block.has("ffn_down", "bias"),
        sub_norms=block.has("attn_sub_norm"),
        attention_sinks=block.has("attn_sinks"),
        max_position_embeddings=_positions(header, name, family, tensors),
        conv_layers=conv_layers,
        conv_kernel=_integer(header, f"{name}.shortconv.l_cache") if conv_layers else 3,
        conv_bias=any(f"blk.{layer}.shortconv.conv.bias" in tensors for layer in conv_layers[:1]),
        **_windows(header, name, layers),
        **(_experts(header, name, block) if header.metadata.get(f"{name}.expert_count") else {}),
    )


def _ffn_sizes(header: GgufHeader, name: str, layers: int) -> dict[str, Any]:
    """Return the FFN size, and those of each layer where they differ and the family reads them so."""
    key = f"{name}.feed_forward_length"
    value = header.metadata.get(key)
    if name != "deci" or not isinstance(value, tuple) or len(set(value)) < 2:
        return {"intermediate_size": _integer(header, key)}
    if len(value) != layers or any(type(size) is not int or size < 1 for size in value):
        raise InvalidArchitecture(
            f"{key}: {ascii(list(value))[:80]}; accepted: a size above 0 for each of {layers} layers"
        )
    return {"intermediate_size": max(value), "layer_intermediate_sizes": value}


class _Block(NamedTuple):
    """The tensors of one block, by the names they have in all blocks."""

    tensors: Tensors
    prefix: str

    def has(self, tensor: str, part: str = "weight") -> bool:
        """Return whether the block has a tensor, such as attn_q, or its bias."""
        return f"{self.prefix}.{tensor}.{part}" in self.tensors

    def dimensions(self, tensor: str) -> int:
        """Number of dimensions of a weight, 0 if the block has none of that name."""
        found = self.tensors.get(f"{self.prefix}.{tensor}.weight")
        return len(found.shape) if found else 0

    @property
    def norm(self) -> NormKind:
        """Kind of norm: layer norms have biases; RMSNorm has none."""
        return NormKind.LAYERNORM if self.has("attn_norm", "bias") else NormKind.RMSNORM

    @property
    def norms(self) -> BlockNorms:
        """Where the block normalises, from which norms there are."""
        if self.has("post_ffw_norm"):
            return BlockNorms.BOTH if self.has("ffn_norm") else BlockNorms.POST
        # Falcon's second norm goes by another name
        return BlockNorms.PRE if self.has("ffn_norm") or self.has("attn_norm_2") else BlockNorms.ONE


def _experts(header: GgufHeader, name: str, block: _Block) -> dict[str, Any]:
    """Return the fields of a mixture of experts."""
    width_key, shared_key = f"{name}.expert_feed_forward_length", f"{name}.expert_shared_feed_forward_length"
    return {
        "num_experts": _integer(header, f"{name}.expert_count"),
        "num_experts_per_tok": _integer(header, f"{name}.expert_used_count"),
        "moe_intermediate_size": _integer(header, width_key) if width_key in header.metadata else None,
        "shared_expert_intermediate_size": _integer(header, shared_key, 0),
        "shared_expert_gate": block.has("ffn_gate_inp_shexp"),
    }


def _windows(header: GgufHeader, name: str, layers: int) -> dict[str, Any]:
    """Return sliding windows where llama.cpp uses them: of listed layers, or all but the last of a cycle."""
    cycle, key = WINDOW_CYCLES.get(name), f"{name}.attention.sliding_window"
    if name in _WITH_PATTERN:
        return _listed_windows(header, name, layers)
    if cycle is None or not header.metadata.get(key):
        return {}
    sliding = tuple(layer for layer in range(layers) if (layer + 1) % cycle)
    return {"sliding_window": _integer(header, key), "sliding_layers": sliding} if sliding else {}


def _listed_windows(header: GgufHeader, name: str, layers: int) -> dict[str, Any]:
    """Return the window and the layers that a file lists as sliding."""
    key = f"{name}.attention.sliding_window_pattern"
    value = header.metadata.get(key)
    if not isinstance(value, tuple) or len(value) != layers or any(flag not in (0, 1) for flag in value):
        raise InvalidArchitecture(f"{key}: {ascii(value)[:80]}; accepted: true or false for {layers} layers")
    sliding = tuple(layer for layer, flag in enumerate(value) if flag)
    window = _integer(header, f"{name}.attention.sliding_window")
    return {"sliding_window": window, "sliding_layers": sliding} if sliding else {}


def _require_same_count(header: GgufHeader, name: str, architecture: Architecture) -> None:
    """Raise unless a file whose family is read from its tensors has exactly the weights described."""
    held = sum(tensor.num_elements for tensor in header.tensors if is_trained(tensor.name))
    described = count_parameters(tensor_specs(architecture)).total
    if held != described:
        raise InvalidArchitecture(
            f"general.architecture: {name} with these keys has {described:,} weights, but the file holds "
            f"{held:,}; accepted: a file with all tensors of its family and no others"
        )


def _kv_heads(header: GgufHeader, name: str, heads: int, layers: int) -> tuple[int, tuple[int, ...]]:
    """Return KV heads of layers with attention and (LFM2) the layers without it: short convolutions."""
    key = f"{name}.attention.head_count_kv"
    value = header.metadata.get(key)
    if name != "lfm2" or not isinstance(value, tuple):
        return _integer(header, key, heads), ()
    counts = {count for count in value if count}
    if len(value) != layers or len(counts) != 1 or any(type(count) is not int for count in value):
        raise InvalidArchitecture(
            f"{key}: {ascii(list(value))[:80]}; accepted: for each of {layers} layers 0 or the same number"
        )
    (kv_heads,) = counts
    assert isinstance(kv_heads, int), "the list holds whole numbers"
    return kv_heads, tuple(layer for layer, count in enumerate(value) if count == 0)


def _positions(header: GgufHeader, name: str, family: _Family, tensors: Tensors) -> int:
    """Return the positions the model was trained for; of a learned table its rows."""
    table = tensors.get("position_embd.weight")
    if family.position is PositionKind.LEARNED and table is not None and len(table.shape) == 2:
        return table.shape[0]
    return _integer(header, f"{name}.context_length", 2048)


def _printable(name: str) -> str:
    """Return a name that cannot move a terminal's cursor or fill its screen."""
    return "".join(c if c.isprintable() else "?" for c in name[:100])


def _embedding(tensors: Tensors) -> tuple[int, int]:
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
    """Read a whole number, or a list of them (one a layer) that are all equal."""
    value = header.metadata.get(key, default)
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    if isinstance(value, tuple | LongArray):
        raise InvalidArchitecture(f"{key}: differs from layer to layer; accepted: one number for all layers")
    if type(value) is not int:
        shown = "missing" if value is None else ascii(value)[:80]
        raise InvalidArchitecture(f"{key}: {shown}; accepted: a whole number")
    return value
