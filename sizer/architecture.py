"""Architecture: the shape of a decoder-only language model, in Hugging Face's terms, and its checks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum, unique
from typing import TypeVar

from sizer.errors import InvalidArchitecture, shown

# Far above any model, far below what would make a loop over layers a denial of service.
MAX_LAYERS = 10_000
MAX_WIDTH = 10_000_000
_LIMITS = {
    "num_layers": (1, MAX_LAYERS),
    **dict.fromkeys(("position_offset", "num_experts", "num_experts_per_tok"), (0, MAX_WIDTH)),
    "shared_expert_intermediate_size": (0, MAX_WIDTH),
}


@unique
class MlpKind(StrEnum):
    """Feed-forward block; gated kinds have three matrices, plain kinds two."""

    SWIGLU = "swiglu"
    GEGLU = "geglu"
    GELU = "gelu"
    RELU = "relu"
    RELU2_GATED = "relu2_gated"

    @property
    def gated(self) -> bool:
        """Whether there is a gate matrix beside up and down."""
        return self in (MlpKind.SWIGLU, MlpKind.GEGLU, MlpKind.RELU2_GATED)


@unique
class NormKind(StrEnum):
    """Normalisation layer: RMSNorm has a weight, LayerNorm a weight and a bias, NONE no tensors."""

    RMSNORM = "rmsnorm"
    LAYERNORM = "layernorm"
    NONE = "none"


@unique
class PositionKind(StrEnum):
    """How positions enter; only LEARNED has a tensor."""

    ROPE = "rope"
    LEARNED = "learned"
    ALIBI = "alibi"


@unique
class BlockNorms(StrEnum):
    """Where a block normalises its residual stream; `one` serves attention and MLP in parallel."""

    PRE = "pre"  # before attention and before the MLP
    POST = "post"  # after attention and after the MLP
    BOTH = "both"  # before and after each (Gemma 2 and 3)
    ONE = "one"  # once, for both (Phi, Falcon-7B)


@unique
class SharingStrategy(StrEnum):
    """How blocks are re-used (MobileLLM, arXiv 2402.14905, section 3.3)."""

    NONE = "none"
    IMMEDIATE = "immediate"
    REPEAT_ALL = "repeat-all"
    REVERSE = "reverse"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSharing:
    """How many times each stored block runs, and in which order.

    immediate (repeat 2): A A B B; repeat-all: A B A B; reverse: A B B A.
    """

    strategy: SharingStrategy = SharingStrategy.NONE
    repeat: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.repeat <= 64:
            raise InvalidArchitecture(f"sharing.repeat must be 1..64, got {shown(self.repeat)}")
        if (self.strategy is SharingStrategy.NONE) != (self.repeat == 1):
            raise InvalidArchitecture(
                f"sharing: strategy {self.strategy.value!r} with repeat {self.repeat}; "
                "use strategy none with repeat 1, or another strategy with repeat 2 or more"
            )

    def order(self, num_layers: int) -> tuple[int, ...]:
        """Indices of the stored block that runs at each executed layer."""
        blocks = range(num_layers)
        if self.strategy is SharingStrategy.IMMEDIATE:
            return tuple(b for b in blocks for _ in range(self.repeat))
        if self.strategy is SharingStrategy.REVERSE:
            return tuple(b for r in range(self.repeat) for b in (blocks if r % 2 == 0 else reversed(blocks)))
        return tuple(blocks) * self.repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Shape of a decoder-only language model; no derived fields, checked on construction.

    `vocab_size` is the stored (padded) number of rows. `num_layers` counts stored blocks;
    `executed_layers` counts runs of a block. The name is a label and does not take part in equality.
    """

    name: str = field(default="custom", compare=False)
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
    embedding_size: int | None = None  # OPT-350M: token embedding of its own width, projected in and out
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
    qk_norm_each_head: bool = False  # StableLM 2 12B: with qk_norm, each head has a norm of its own
    # Mixtures of experts; 0 experts: every layer has one feed-forward block
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int | None = None  # width of an expert; None: intermediate_size
    shared_expert_intermediate_size: int = 0  # of an expert that every token uses beside the chosen ones
    shared_expert_gate: bool = False  # Qwen 2: that expert's output is weighed by a gate
    dense_layers: tuple[int, ...] = ()  # layers with one feed-forward block all the same

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type == "int" or (f.type == "int | None" and value is not None):
                low, high = _LIMITS.get(f.name, (1, MAX_WIDTH))
                if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                    raise InvalidArchitecture(
                        f"{f.name} must be a whole number from {low} to {high}, got {shown(value)}"
                    )
        if self.num_heads % self.num_kv_heads:
            raise InvalidArchitecture(
                "num_heads must be a multiple of num_kv_heads, "
                f"got num_heads {self.num_heads} and num_kv_heads {self.num_kv_heads}"
            )
        if self.position is PositionKind.ROPE and self.head_dim % 2:
            raise InvalidArchitecture(f"head_dim must be even for rotary positions, got {self.head_dim}")
        self._check_layers()
        if self.executed_layers > MAX_LAYERS:
            raise InvalidArchitecture(
                f"num_layers x sharing.repeat must be at most {MAX_LAYERS}, got {self.executed_layers}"
            )

    def _check_layers(self) -> None:
        """Fields that say something of each layer must speak of layers that are there."""
        for name in ("conv_layers", "sliding_layers"):
            layers = getattr(self, name)
            if any(not 0 <= layer < self.num_layers for layer in layers):
                raise InvalidArchitecture(
                    f"{name} must be layers from 0 to {self.num_layers - 1}, got {shown(list(layers))}"
                )
        if self.sliding_layers and self.sliding_window is None:
            raise InvalidArchitecture("sliding_window: missing, but sliding_layers has layers that need it")
        group = self.num_heads // self.num_kv_heads
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
        different = (
            self.conv_layers or self.layer_num_heads or self.layer_intermediate_sizes or self.dense_layers
        )
        if different and (self.sharing.repeat > 1 or self.shared_mlp):
            raise InvalidArchitecture("sharing: not supported where layers differ from each other")

    def _check_experts(self) -> None:
        """Facts about experts need experts, and experts are gated blocks without biases or norms inside."""
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
        other = [
            name
            for name in ("mlp_bias", "sub_norms", "shared_mlp", "fused_gate_up", "layer_intermediate_sizes")
            if getattr(self, name)
        ]
        if other or not self.mlp.gated:
            raise InvalidArchitecture(
                f"num_experts: {self.num_experts} experts are not supported with "
                f"{', '.join(other) or f'mlp {self.mlp.value}'}"
            )

    @property
    def executed_layers(self) -> int:
        """Number of times a block runs per token."""
        return self.num_layers * self.sharing.repeat

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
        return tuple(f.name for f in fields(self) if f.name in _BEYOND and getattr(self, f.name) != f.default)

    def to_dict(self) -> dict[str, object]:
        """The shape as plain JSON values, with the keys of the estimate's `architecture` object."""
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
            "sharing": {"strategy": self.sharing.strategy.value, "repeat": self.sharing.repeat},
        }

    def unrolled(self) -> Architecture:
        """The same computation with every executed layer stored on its own (what llama.cpp needs)."""
        if self.sharing.repeat == 1:
            return self
        sliding = frozenset(self.sliding_layers)
        return replace(
            self,
            num_layers=self.executed_layers,
            sharing=LayerSharing(),
            sliding_layers=tuple(
                i for i, block in enumerate(self.sharing.order(self.num_layers)) if block in sliding
            )
            if sliding
            else (),
        )


_EXPERT_FIELDS = (
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "shared_expert_gate",
    "dense_layers",
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
    }
)

_EnumT = TypeVar("_EnumT", bound=StrEnum)


def parse_enum(kind: type[_EnumT], text: str, field_name: str) -> _EnumT:
    """Member of an enum from its text, ignoring case and taking _ for -; the error lists what is accepted."""
    members = {m.value.replace("_", "-"): m for m in kind}
    member = members.get(text.strip().lower().replace("_", "-"))
    if member is None:
        raise InvalidArchitecture(
            f"{field_name}: unknown value {shown(text)}; accepted: {', '.join(m.value for m in kind)}"
        )
    return member
