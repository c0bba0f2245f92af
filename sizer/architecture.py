"""Architecture: the shape of a decoder-only language model, in Hugging Face's terms, and its checks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from sizer.block_kinds import (
    MAX_LAYERS,
    MAX_WIDTH,
    BlockNorms,
    LayerSharing,
    MlpKind,
    NormKind,
    PositionKind,
    SharingStrategy,
    check_layer_kind,
    check_layers,
    parse_enum,
)
from sizer.errors import InvalidArchitecture, shown

if TYPE_CHECKING:  # loaded by the readers of models that have such layers
    from sizer.layers.delta_net import GatedDeltaNet
    from sizer.layers.global_attention import GlobalAttention
    from sizer.layers.latent_attention import LatentAttention
    from sizer.layers.mamba import Mamba, Mamba2
    from sizer.layers.per_layer_inputs import PerLayerInputs
    from sizer.layers.shared_transformer import SharedTransformer

    Recurrent = Mamba | Mamba2 | GatedDeltaNet

__all__ = [
    "MAX_LAYERS",
    "MAX_WIDTH",
    "Architecture",
    "BlockNorms",
    "LayerSharing",
    "MlpKind",
    "NormKind",
    "PositionKind",
    "SharingStrategy",
    "parse_enum",
]

_LIMITS = {
    "num_layers": (1, MAX_LAYERS),
    **dict.fromkeys(
        ("position_offset", "shared_kv_layers", "num_experts", "num_experts_per_tok"), (0, MAX_WIDTH)
    ),
    "shared_expert_intermediate_size": (0, MAX_WIDTH),
    "mtp_layers": (0, MAX_LAYERS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Shape of a decoder-only language model; no derived fields, checked on construction.

    `vocab_size` is the stored (padded) number of rows. `num_layers` counts stored blocks;
    `executed_layers` counts runs of a block. The name is a label and does not take part in equality.
    """

    name: str = field(default="custom", compare=False)
    # Hugging Face's name of the family, where the shape comes from one: engines have a definition for each.
    # The same tensors in another family are the same shape.
    model_type: str | None = field(default=None, compare=False)
    vocab_size: int
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mlp: MlpKind = MlpKind.SWIGLU
    norm: NormKind = NormKind.RMSNORM
    position: PositionKind = PositionKind.ROPE
    tie_embeddings: bool = True
    qk_norm: bool = False
    qkv_bias: bool = False
    attention_output_bias: bool = False
    mlp_bias: bool = False
    sub_norms: bool = False  # BitNet: a norm before attention's output and one before the down projection
    shared_mlp: bool = False  # MobiLlama: all layers use one feed-forward block
    max_position_embeddings: int = 2048
    sharing: LayerSharing = LayerSharing()
    block_norms: BlockNorms = BlockNorms.PRE
    final_norm: bool = True
    embedding_norm: bool = False  # BLOOM: a norm right after the token embedding
    embedding_size: int | None = None  # OPT-350M: token embedding of another width, projected in and out
    position_offset: int = 0  # OPT: rows of the position table before the first position
    head_bias: bool = False  # Phi: the head has a bias (and keeps it where the table is tied)
    fused_qkv: bool = False  # query, key and value are one matrix
    fused_gate_up: bool = False  # gate and up are one matrix
    qk_norm_all_heads: bool = False  # OLMo 2: with qk_norm, over all heads together instead of each head
    conv_layers: tuple[int, ...] = ()  # LFM2: layers with a short convolution instead of attention
    conv_kernel: int = 3
    conv_bias: bool = False
    sliding_window: int | None = None  # positions that a sliding layer looks back on; others see all
    sliding_layers: tuple[int, ...] = ()
    # OpenELM: of each layer where they differ, as many query heads to a KV head as num_heads to num_kv_heads;
    # num_heads and intermediate_size are then the largest
    layer_num_heads: tuple[int, ...] = ()
    layer_intermediate_sizes: tuple[int, ...] = ()
    qk_norm_each_head: bool = False  # StableLM 2 12B: with qk_norm, each head has its own norm
    # Mixtures of experts; 0 experts: every layer has one feed-forward block
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int | None = None  # width of an expert; None: intermediate_size
    shared_expert_intermediate_size: int = 0  # of an expert that every token uses
    shared_expert_gate: bool = False  # Qwen 2: that expert's output is weighed by a gate
    dense_layers: tuple[int, ...] = ()  # layers with one feed-forward block all the same
    expert_bias: bool = False  # gpt-oss: router and experts have biases
    routing_bias: bool = False  # ERNIE 4.5: a learned correction of the router's scores, one for each expert
    routing_bias_is_buffer: bool = False  # DeepSeek-V3: kept with the weights, but not counted as one
    moe_latent_size: int | None = None  # Nemotron 3: experts work on rows of another width
    # Layers that mix tokens in another way than by attention, by kind; each names its layers
    mamba: Mamba | None = None
    mamba2: Mamba2 | None = None
    delta_net: GatedDeltaNet | None = None
    layers_without_mixer: tuple[int, ...] = ()  # Nemotron-H: a feed-forward block alone
    layers_without_mlp: tuple[int, ...] = ()  # Mamba, Nemotron-H: a mixer alone
    latent_attention: LatentAttention | None = None  # DeepSeek-V2: in place of query, key and value matrices
    attention_gate: bool = False  # Qwen3-Next: the query matrix also gives a gate for attention's output
    attention_sinks: bool = False  # gpt-oss: each head has a learned score that no position has
    global_attention: GlobalAttention | None = None  # Gemma 4: layers with heads of another width
    shared_kv_layers: int = 0  # Gemma 3n: last layers, which use keys and values of earlier ones
    shared_kv_is_stored: bool = False  # in files their own keys' and values' matrices are there all the same
    per_layer_inputs: PerLayerInputs | None = None  # Gemma 3n: an embedding for each layer
    experts_beside_mlp: bool = False  # Gemma 4: experts in parallel with the feed-forward block, more norms
    shared_transformer: SharedTransformer | None = None  # Zamba2: blocks before some layers' mixers
    # DeepSeek-V3: layers that predict further tokens, no part of the count (`mtp_parameters`)
    mtp_layers: int = 0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type == "int" or (f.type == "int | None" and value is not None):
                low, high = _LIMITS.get(f.name, (1, MAX_WIDTH))
                if value == 0 and f.name in _ABSENT and self._may_be_absent(f.name):
                    continue
                if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                    raise InvalidArchitecture(
                        f"{f.name} must be a whole number from {low} to {high}, got {shown(value)}"
                    )
        if self.num_kv_heads and self.num_heads % self.num_kv_heads:
            raise InvalidArchitecture(
                "num_heads must be a multiple of num_kv_heads, "
                f"got num_heads {self.num_heads} and num_kv_heads {self.num_kv_heads}"
            )
        rotated = self.latent_attention.rope_head_dim if self.latent_attention else self.head_dim
        if self.position is PositionKind.ROPE and rotated % 2:
            raise InvalidArchitecture(f"head_dim must be even for rotary positions, got {rotated}")
        self._check_layers()
        if self.num_layers < self.sharing.fewest_layers:
            raise InvalidArchitecture(
                f"sharing.ends: {self.sharing.ends} blocks at each end need num_layers of "
                f"{self.sharing.fewest_layers} or more, got {self.num_layers}"
            )
        if self.executed_layers > MAX_LAYERS:
            raise InvalidArchitecture(
                f"num_layers x sharing.repeat must be at most {MAX_LAYERS}, got {self.executed_layers}"
            )

    def __hash__(self) -> int:
        """Return a hash of the sizes: shapes that differ in other fields alone are rarely kept together."""
        return hash(_hashed(self))

    def _check_layers(self) -> None:
        """Raise unless fields that describe single layers name layers that exist."""
        for name in ("conv_layers", "sliding_layers", "layers_without_mixer", "layers_without_mlp"):
            check_layers(name, getattr(self, name), self.num_layers)
        for name in _KINDS:
            if (kind := getattr(self, name)) is not None:
                check_layer_kind(name, kind, self.num_layers)
        if both := set(self.layers_without_mixer) & set(self.layers_without_mlp):
            raise InvalidArchitecture(
                f"layers_without_mlp: layer {min(both)} has neither a mixer nor a feed-forward block"
            )
        if self.sliding_layers and self.sliding_window is None:
            raise InvalidArchitecture("sliding_window: missing, but sliding_layers has layers that need it")
        group = self.num_heads // max(self.num_kv_heads, 1)
        for name, largest, multiple in (
            ("layer_num_heads", self.num_heads, group),
            ("layer_intermediate_sizes", self.intermediate_size, 1),
        ):
            values = getattr(self, name)
            wrong = [v for v in values if not 1 <= v <= largest or v % multiple]
            if values and (len(values) != self.num_layers or wrong or max(values) != largest):
                raise InvalidArchitecture(
                    f"{name} must be {self.num_layers} multiples of {multiple} up to {largest}, "
                    f"got {shown(list(values))}"
                )
        self._check_experts()
        if self.layers_differ and (self.sharing.repeat > 1 or self.shared_mlp):
            raise InvalidArchitecture("sharing: not supported where layers differ from each other")

    @property
    def layers_differ(self) -> bool:
        """True if layers may have other tensors than the first one has; windows change no tensor."""
        return any(_of_layers(self))

    def _may_be_absent(self, name: str) -> bool:
        """True if no layer has the part that a size belongs to: 0 is then the right size."""
        if name == "intermediate_size":
            if self.shared_transformer or self.experts_beside_mlp:
                return False
            experts = self.moe_intermediate_size is not None and not self.dense_layers
            return experts or len(set(self.layers_without_mlp)) == self.num_layers
        return len(self.layers_without_attention) == self.num_layers and self.shared_transformer is None

    def _check_experts(self) -> None:
        """Raise unless facts about experts have experts, in blocks without inner norms."""
        if not self.num_experts:
            given = [name for name in _EXPERT_FIELDS if getattr(self, name)]
            if given:
                raise InvalidArchitecture(f"num_experts: 0, but there is {', '.join(given)}")
            return
        if not 1 <= self.num_experts_per_tok <= self.num_experts:
            raise InvalidArchitecture(
                f"num_experts_per_tok must be a whole number from 1 to {self.num_experts} (num_experts), "
                f"got {self.num_experts_per_tok}"
            )
        if any(not 0 <= layer < self.num_layers for layer in self.dense_layers):
            raise InvalidArchitecture(
                f"dense_layers must be layers from 0 to {self.num_layers - 1}, got {list(self.dense_layers)}"
            )
        other = [name for name in ("sub_norms", "shared_mlp", "fused_gate_up") if getattr(self, name)]
        if other:
            raise InvalidArchitecture(
                f"num_experts: {self.num_experts} experts are not supported with {', '.join(other)}"
            )

    @property
    def recurrent(self) -> tuple[tuple[str, Recurrent], ...]:
        """Kinds of layers with a recurrent state, each with the name of its module."""
        if self.mamba is None and self.mamba2 is None and self.delta_net is None:
            return ()
        kinds = (("mamba", self.mamba), ("mamba", self.mamba2), ("linear_attn", self.delta_net))
        return tuple((name, kind) for name, kind in kinds if kind is not None)

    @property
    def layers_without_attention(self) -> frozenset[int]:
        """Stored layers that mix tokens in another way alone, or not at all."""
        without = {*self.conv_layers, *self.layers_without_mixer}
        for _, kind in self.recurrent:
            if not getattr(kind, "beside_attention", False):
                without.update(kind.layers)
        return frozenset(without)

    @property
    def num_cached_layers(self) -> int:
        """Number of executed layers that cache keys and values of their own."""
        shared = len(self.shared_transformer.layers) if self.shared_transformer else 0
        return self.executed_layers - len(self.layers_without_attention) + shared - self.shared_kv_layers

    @property
    def layer_kinds(self) -> dict[str, int]:
        """Number of stored layers with each kind of mixer; a layer with two kinds counts for both."""
        kinds = {"mamba": self.mamba, "mamba-2": self.mamba2, "delta net": self.delta_net}
        counts = {
            "attention": self.num_layers - len(self.layers_without_attention),
            "convolution": len(self.conv_layers),
            **{name: len(kind.layers) for name, kind in kinds.items() if kind is not None},
            "feed-forward": len(self.layers_without_mixer),
        }
        return {name: count for name, count in counts.items() if count}

    @property
    def executed_layers(self) -> int:
        """Number of times a block runs per token."""
        return self.sharing.executed(self.num_layers)

    @property
    def q_width(self) -> int:
        """Width of the query projection: num_heads x head_dim."""
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the key (or value) projection: num_kv_heads x head_dim."""
        return self.num_kv_heads * self.head_dim

    @property
    def embedding_width(self) -> int:
        """Width of the token embedding's rows: `embedding_size`, or that of the residual stream."""
        return self.hidden_size if self.embedding_size is None else self.embedding_size

    @property
    def expert_width(self) -> int:
        """Width of one expert: `moe_intermediate_size`, or that of the feed-forward block."""
        return self.intermediate_size if self.moe_intermediate_size is None else self.moe_intermediate_size

    @property
    def active_mlp_width(self) -> int:
        """Widest a token gets between up and down: of all its experts, or of a layer without experts."""
        if not self.num_experts:
            return self.intermediate_size
        experts = self.num_experts_per_tok * self.expert_width + self.shared_expert_intermediate_size
        return max(experts, self.intermediate_size) if self.dense_layers else experts

    @property
    def beyond_llama(self) -> tuple[str, ...]:
        """Fields in which this shape has tensors, or leaves some out, unlike any Llama-shaped decoder.

        What is written for Llama-shaped decoders (file layouts, the proxy, config keys) must refuse these.
        """
        if _beyond_llama(self) == _OF_LLAMA:
            return ()
        return tuple(name for name, usual in _BEYOND_LLAMA.items() if getattr(self, name) != usual)

    def to_dict(self) -> dict[str, object]:
        """Return the shape as plain JSON values, with the keys of the estimate's `architecture` object."""
        return {
            "name": self.name,
            "num_layers": self.num_layers,
            "executed_layers": self.executed_layers,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_experts": self.num_experts,
            "num_experts_per_tok": self.num_experts_per_tok,
            "num_heads": self.num_heads,
            "num_kv_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab_size,
            "tie_embeddings": self.tie_embeddings,
            "sharing": self.sharing.to_dict(),
            **({"layer_kinds": self.layer_kinds} if self.recurrent else {}),
        }

    def unrolled(self) -> Architecture:
        """Return the same computation with every executed layer stored on its own (what llama.cpp needs)."""
        if self.sharing.repeat == 1:
            return self
        sliding, order = frozenset(self.sliding_layers), self.sharing.order(self.num_layers)
        windows = tuple(i for i, block in enumerate(order) if block in sliding)
        return replace(self, num_layers=len(order), sharing=LayerSharing(), sliding_layers=windows)


_hashed = attrgetter(
    *("vocab_size", "num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads"),
    *("head_dim", "num_experts", "sharing.repeat", "max_position_embeddings"),
)
_EXPERT_FIELDS = (
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "shared_expert_gate",
    "dense_layers",
    "expert_bias",
    "routing_bias",
    "routing_bias_is_buffer",
    "moe_latent_size",
    "experts_beside_mlp",
)
# Fields that describe layers of other kinds by their own sizes.
_KINDS = (
    *("mamba", "mamba2", "delta_net", "latent_attention", "global_attention", "per_layer_inputs"),
    "shared_transformer",
)
# Sizes that are 0 where no layer has attention, or a feed-forward block.
_ABSENT = frozenset({"num_heads", "num_kv_heads", "head_dim", "intermediate_size"})
# Fields that may give a layer other tensors than the first layer's.
_of_layers = attrgetter(
    *("conv_layers", "layer_num_heads", "layer_intermediate_sizes", "dense_layers", "recurrent"),
    *("layers_without_mixer", "layers_without_mlp", "global_attention", "shared_kv_layers"),
    *("per_layer_inputs", "shared_transformer"),
)
_BEYOND = frozenset(
    {
        "block_norms",
        "final_norm",
        "embedding_norm",
        "embedding_size",
        "position_offset",
        "head_bias",
        "fused_qkv",
        "fused_gate_up",
        "qk_norm_all_heads",
        "conv_layers",
        "layer_num_heads",
        "layer_intermediate_sizes",
        "qk_norm_each_head",
        "num_experts",
        *_EXPERT_FIELDS,
        *_KINDS,
        "layers_without_mixer",
        "layers_without_mlp",
        "shared_kv_layers",
        "shared_kv_is_stored",
        "attention_gate",
        "attention_sinks",
    }
)
_BEYOND_LLAMA = {f.name: f.default for f in fields(Architecture) if f.name in _BEYOND}
_OF_LLAMA = tuple(_BEYOND_LLAMA.values())
_beyond_llama = attrgetter(*_BEYOND_LLAMA)
