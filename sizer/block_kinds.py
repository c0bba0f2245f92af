"""Kinds of a block's parts, how blocks are re-used, and checks of fields that describe single layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum, unique
from typing import Any, TypeVar

from sizer.errors import InvalidArchitecture, shown

# Far above any model, far below what would make a loop over layers a denial of service.
MAX_LAYERS = 10_000
MAX_WIDTH = 10_000_000
MAX_ENDS = 1_000  # blocks at each end that sharing of the middle leaves alone

# Fields of an architecture whose layers all have experts, and nothing else that dense layers lack
EXPERT_FIELDS = ("num_experts", "num_experts_per_tok")


@unique
class MlpKind(StrEnum):
    """Feed-forward block; gated kinds have three matrices, plain kinds two."""

    __hash__ = str.__hash__  # an Enum's own runs in Python

    SWIGLU = "swiglu"
    GEGLU = "geglu"
    GELU = "gelu"
    RELU = "relu"
    RELU2 = "relu2"
    RELU2_GATED = "relu2_gated"

    @property
    def gated(self) -> bool:
        """True if there is a gate matrix next to up and down."""
        return self in (MlpKind.SWIGLU, MlpKind.GEGLU, MlpKind.RELU2_GATED)


@unique
class NormKind(StrEnum):
    """Normalisation layer: RMSNorm has a weight, LayerNorm a weight and (mostly) a bias, NONE no tensors."""

    __hash__ = str.__hash__  # an Enum's own runs in Python

    RMSNORM = "rmsnorm"
    LAYERNORM = "layernorm"
    LAYERNORM_WITHOUT_BIAS = "layernorm_without_bias"
    NONE = "none"


@unique
class PositionKind(StrEnum):
    """How positions enter; only LEARNED has a tensor (SINUSOIDAL is computed); with NONE the order shows
    in recurrent layers alone.
    """

    __hash__ = str.__hash__  # an Enum's own runs in Python

    ROPE = "rope"
    LEARNED = "learned"
    ALIBI = "alibi"
    SINUSOIDAL = "sinusoidal"
    NONE = "none"


@unique
class BlockNorms(StrEnum):
    """Where a block normalises its residual stream; `one` serves attention and MLP in parallel."""

    __hash__ = str.__hash__  # an Enum's own runs in Python

    PRE = "pre"  # before attention and before the MLP
    POST = "post"  # after attention and after the MLP
    BOTH = "both"  # before and after each (Gemma 2 and 3)
    ONE = "one"  # once, for both (Phi, Falcon-7B)


@unique
class SharingStrategy(StrEnum):
    """How blocks are re-used (MobileLLM, arXiv 2402.14905, section 3.3); MIDDLE keeps the ends unshared."""

    NONE = "none"
    IMMEDIATE = "immediate"
    REPEAT_ALL = "repeat-all"
    REVERSE = "reverse"
    MIDDLE = "middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSharing:
    """How many times each stored block runs, and in which order.

    immediate (repeat 2): A A B B; repeat-all: A B A B; reverse: A B B A; middle (ends 1): A B C B C D. With
    `middle` the first and last `ends` blocks run once, and those between them all in turn, `repeat` times.
    """

    strategy: SharingStrategy = SharingStrategy.NONE
    repeat: int = 1
    ends: int = 0

    def __post_init__(self) -> None:
        if (self.strategy is SharingStrategy.MIDDLE) != (self.ends != 0) or not 0 <= self.ends <= MAX_ENDS:
            accepted = f"1..{MAX_ENDS} with strategy middle, 0 with any other"
            raise InvalidArchitecture(
                f"sharing.ends: {shown(self.ends)} with strategy {self.strategy.value!r}; "
                f"accepted: {accepted}"
            )
        if not 1 <= self.repeat <= 64:
            raise InvalidArchitecture(f"sharing.repeat must be 1..64, got {shown(self.repeat)}")
        if (self.strategy is SharingStrategy.NONE) != (self.repeat == 1):
            raise InvalidArchitecture(
                f"sharing: strategy {self.strategy.value!r} with repeat {self.repeat}; "
                "use strategy none with repeat 1, or another strategy with repeat 2 or more"
            )

    def order(self, num_layers: int) -> tuple[int, ...]:
        """Return indices of the stored block that runs at each executed layer."""
        blocks = range(num_layers)
        if self.strategy is SharingStrategy.MIDDLE:
            first, last = self.ends, num_layers - self.ends
            return (*blocks[:first], *tuple(blocks[first:last]) * self.repeat, *blocks[last:])
        if self.strategy is SharingStrategy.IMMEDIATE:
            return tuple(b for b in blocks for _ in range(self.repeat))
        if self.strategy is SharingStrategy.REVERSE:
            return tuple(b for r in range(self.repeat) for b in (blocks if r % 2 == 0 else reversed(blocks)))
        return tuple(blocks) * self.repeat

    @property
    def fewest_layers(self) -> int:
        """Least number of stored blocks: one that is shared, and those at the ends."""
        return 2 * self.ends + 1

    def executed(self, num_layers: int) -> int:
        """Return the number of runs of that many stored blocks; a numpy column gives a column."""
        return num_layers + (num_layers - 2 * self.ends) * (self.repeat - 1)

    def stored(self, executed_layers: float) -> float:
        """Return the number of stored blocks with that many runs, which need not be whole."""
        return (executed_layers + 2 * self.ends * (self.repeat - 1)) / self.repeat

    def runs(self, layer: int, num_layers: int) -> int:
        """Return how many times one stored block runs."""
        return self.repeat if self.ends <= layer < num_layers - self.ends else 1

    def runs_per_block(self, num_layers: int) -> float:
        """Return executed layers over stored ones."""
        return self.repeat if not self.ends else self.executed(num_layers) / num_layers

    @property
    def text(self) -> str:
        """Return strategy and parameters: "immediate x2", "middle x2 ends 1"; empty without sharing."""
        if self.repeat == 1:
            return ""
        return f"{self.strategy.value} x{self.repeat}" + (f" ends {self.ends}" if self.ends else "")

    def to_dict(self) -> dict[str, str | int]:
        """Return plain JSON values, as in a config's `sharing`."""
        found: dict[str, str | int] = {"strategy": self.strategy.value, "repeat": self.repeat}
        return found | ({"ends": self.ends} if self.ends else {})


_EnumT = TypeVar("_EnumT", bound=StrEnum)


def parse_enum(kind: type[_EnumT], text: str, field_name: str) -> _EnumT:
    """Parse an enum member, ignoring case and reading _ as -; the error lists what is accepted."""
    members = {m.value.replace("_", "-"): m for m in kind}
    member = members.get(text.strip().lower().replace("_", "-"))
    if member is None:
        raise InvalidArchitecture(
            f"{field_name}: unknown value {shown(text)}; accepted: {', '.join(m.value for m in kind)}"
        )
    return member


def check_layers(name: str, layers: Sequence[int], num_layers: int) -> None:
    """Raise InvalidArchitecture unless a field lists layers that exist."""
    if any(not 0 <= layer < num_layers for layer in layers):
        raise InvalidArchitecture(
            f"{name} must be layers from 0 to {num_layers - 1}, got {shown(list(layers))}"
        )


def check_layer_kind(name: str, kind: Any, num_layers: int) -> None:
    """Raise InvalidArchitecture unless sizes of a kind of layer are sizes, and its layers exist."""
    for f in fields(kind):
        value = getattr(kind, f.name)
        if f.name == "layers":
            check_layers(f"{name}.layers", value, num_layers)
        elif f.type == "int" or (f.type == "int | None" and value is not None):
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not 1 <= value <= MAX_WIDTH:
                raise InvalidArchitecture(
                    f"{name}.{f.name} must be a whole number from 1 to {MAX_WIDTH}, got {shown(value)}"
                )
