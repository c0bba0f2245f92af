"""llama.cpp's quantization mixes: which ggml block type each tensor of a GGUF file gets.

Port of `llama_tensor_get_type` in llama.cpp `src/llama-quant.cpp` (commit c392e509), without an importance
matrix, and of the fallback as the build in llama-cpp-python 0.3.36 has it (Q2_K and Q3_K fall back to Q4_0
there; older builds chose IQ4_NL, of the same size). Compared tensor by tensor with what that build chose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sizer.architecture import Architecture, NormKind, PositionKind
from sizer.errors import InvalidArchitecture, UnknownName
from sizer.formats.ggml import TYPES, BlockType
from sizer.tensors import Role, TensorSpec, count_parameters


class StoredTensor(NamedTuple):
    """A tensor and the block type it is stored as."""

    spec: TensorSpec
    type: BlockType

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensor's data, without the file's alignment."""
        return self.type.tensor_bytes(self.spec)


class _Place(NamedTuple):
    """Where a tensor stands: number among its kind, of how many, query heads per KV head, 70B class."""

    number: int
    of: int
    gqa: int
    is_70b: bool


_Rule = Callable[[_Place], str | None]

# Base type of each mix, before any tensor is given more or fewer bits.
BASE_TYPES: Mapping[str, str] = {
    "F32": "F32",
    "F16": "F16",
    "BF16": "BF16",
    "Q8_0": "Q8_0",
    "Q6_K": "Q6_K",
    "Q5_K_M": "Q5_K",
    "Q5_K_S": "Q5_K",
    "Q5_1": "Q5_1",
    "Q5_0": "Q5_0",
    "Q4_K_M": "Q4_K",
    "Q4_K_S": "Q4_K",
    "Q4_1": "Q4_1",
    "Q4_0": "Q4_0",
    "Q3_K_L": "Q3_K",
    "Q3_K_M": "Q3_K",
    "Q3_K_S": "Q3_K",
    "Q2_K": "Q2_K",
    "Q2_K_S": "Q2_K",
    "IQ4_NL": "IQ4_NL",
    "IQ4_XS": "IQ4_XS",
    "IQ3_M": "IQ3_S",
    "IQ3_S": "IQ3_S",
    "IQ3_XS": "IQ3_S",
    "IQ3_XXS": "IQ3_XXS",
    "IQ2_M": "IQ2_S",
    "IQ2_S": "IQ2_XS",
    "IQ2_XS": "IQ2_XS",
    "IQ2_XXS": "IQ2_XXS",
    "IQ1_M": "IQ1_M",
    "IQ1_S": "IQ1_S",
    "TQ1_0": "TQ1_0",
    "TQ2_0": "TQ2_0",
}

_FALLBACK: Mapping[str, str] = {
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "IQ4_XS": "IQ4_NL",
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"), "IQ4_NL"),
}

_LOW_IQ = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")


def _more_bits(p: _Place) -> bool:
    eighth = p.of // 8
    return p.number < eighth or p.number >= 7 * p.of // 8 or (p.number - eighth) % 3 == 2


def _always(name: str) -> _Rule:
    return lambda p: name


def _if_more_bits(name: str) -> _Rule:
    return lambda p: name if _more_bits(p) else None


def _first(fraction: int, name: str, otherwise: str | None = None) -> _Rule:
    return lambda p: name if p.number < p.of // fraction else otherwise


def _if_grouped(name: str, otherwise: str | None = None) -> _Rule:
    return lambda p: name if p.gqa >= 4 else otherwise


# Types that differ from the mix's base type, by role and mix. None: the base type after all.
_RULES: Mapping[Role, Mapping[str, _Rule]] = {
    Role.VALUE: {
        "Q2_K": _if_grouped("Q4_K", "Q3_K"),
        "Q2_K_S": _if_grouped("Q4_K"),
        "Q3_K_M": lambda p: "Q5_K" if p.number < 2 else "Q4_K",
        "Q3_K_L": _always("Q5_K"),
        "Q4_K_S": lambda p: "Q5_K" if p.number < 4 else None,
        "Q4_K_M": _if_more_bits("Q6_K"),
        "Q5_K_M": _if_more_bits("Q6_K"),
        "IQ3_XXS": _if_grouped("Q4_K", "IQ3_S"),
        "IQ3_XS": _if_grouped("Q4_K"),
        "IQ3_S": _if_grouped("Q4_K"),
        "IQ3_M": _always("Q4_K"),
        "IQ4_NL": _if_grouped("Q5_K"),
        "IQ4_XS": _if_grouped("Q5_K"),
        **dict.fromkeys(("IQ2_S", "IQ2_M"), _if_grouped("Q4_K", "IQ3_S")),
        **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), _if_grouped("Q4_K", "Q2_K")),
    },
    Role.QUERY: {"IQ3_XS": _always("IQ3_XXS"), "IQ3_XXS": _always("IQ2_S")},
    Role.KEY: {"IQ3_XS": _always("IQ3_XXS"), "IQ3_XXS": _always("IQ2_S")},
    Role.QKV: {
        **dict.fromkeys(("Q3_K_M", "Q3_K_L", "IQ3_M"), _always("Q4_K")),
        "Q4_K_M": _always("Q5_K"),
        "Q5_K_M": _always("Q6_K"),
    },
    Role.ATTENTION_OUTPUT: {
        "Q2_K": _always("Q3_K"),
        "Q3_K_M": _always("Q4_K"),
        "Q3_K_L": _always("Q5_K"),
        "IQ3_XXS": _always("IQ3_S"),
        "IQ3_M": _always("Q4_K"),
        **dict.fromkeys(("IQ1_S", "IQ1_M"), _always("IQ2_XXS")),
        **dict.fromkeys(("IQ2_S", "IQ2_M"), _always("IQ3_S")),
    },
    Role.DOWN: {
        "Q2_K": _always("Q3_K"),
        "Q2_K_S": _first(8, "Q4_K"),
        "Q3_K_M": _first(16, "Q5_K", "Q4_K"),
        "Q3_K_L": _always("Q5_K"),
        "Q4_K_S": _first(8, "Q5_K"),
        "Q4_K_M": _if_more_bits("Q6_K"),
        "Q5_K_M": _if_more_bits("Q6_K"),
        "IQ3_XXS": _first(8, "Q4_K", "Q3_K"),
        "IQ3_M": _first(8, "Q4_K"),
        "IQ4_NL": _first(8, "Q5_K"),
        "IQ4_XS": _first(8, "Q5_K"),
        **dict.fromkeys(("IQ2_S", "IQ2_M"), _first(8, "IQ3_S")),
        **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), _first(8, "Q2_K")),
    },
    Role.GATE: {"IQ3_XS": lambda p: "IQ3_XXS" if p.of // 8 <= p.number < 7 * p.of // 8 else None},
    Role.UP: {"IQ3_XS": lambda p: "IQ3_XXS" if p.of // 8 <= p.number < 7 * p.of // 8 else None},
}


class LlamaCppMix(NamedTuple):
    """A named llama.cpp file type such as Q4_K_M: a base type and rules that change it per tensor."""

    name: str

    def assign(self, architecture: Architecture, specs: tuple[TensorSpec, ...]) -> tuple[StoredTensor, ...]:
        """Block type of every tensor of an unrolled architecture (llama.cpp stores no shared blocks).

        Raises InvalidArchitecture for a shape whose layout in a GGUF file has not been checked.
        """
        _check_layout(architecture, specs)
        gqa = architecture.num_heads // architecture.num_kv_heads
        is_70b = _is_70b(architecture.num_layers, gqa)
        counts: dict[Role, int] = {}
        for spec in specs:
            if len(spec.shape) > 1:
                counts[spec.role] = counts.get(spec.role, 0) + 1
        seen: dict[Role, int] = {}
        stored = []
        for spec in specs:
            index = 0
            if len(spec.shape) > 1:
                index = seen.get(spec.role, 0)
                seen[spec.role] = index + 1
            place = _Place(index, counts.get(spec.role, 0), gqa, is_70b)
            stored.append(StoredTensor(spec, self._type_of(spec, place, tied=architecture.tie_embeddings)))
        return tuple(stored)

    def _type_of(self, spec: TensorSpec, place: _Place, *, tied: bool) -> BlockType:
        if len(spec.shape) == 1 or spec.role is Role.POSITION_EMBEDDING:
            return TYPES["F32"]
        if spec.role in (Role.OUTPUT, Role.TOKEN_EMBEDDING):
            name = self.table_type(spec.role, spec.row_length, tied=tied)
        else:
            name = self._matrix_type(spec.role, place)
        return fitting_type(name, spec.row_length)

    def table_type(self, role: Role, row_length: int, *, tied: bool) -> str:
        """Type of the head or the token embedding, before a fallback for the length of its rows."""
        base = BASE_TYPES[self.name]
        if base in ("F32", "F16", "BF16"):
            return base
        return self._head_type(base, row_length) if tied or role is Role.OUTPUT else self._lookup_type(base)

    def layer_types(self, role: Role, num_layers: int, gqa: int) -> tuple[str, ...]:
        """Type of each layer's matrix of that role, before a fallback for the length of its rows."""
        is_70b = _is_70b(num_layers, gqa)
        return tuple(self._matrix_type(role, _Place(i, num_layers, gqa, is_70b)) for i in range(num_layers))

    def _matrix_type(self, role: Role, place: _Place) -> str:
        base = BASE_TYPES[self.name]
        if base in ("F32", "F16", "BF16"):
            return base
        rule = _RULES.get(role, {}).get(self.name)
        name = (rule(place) if rule else None) or base
        return "Q5_K" if place.is_70b and role is Role.VALUE and name in ("Q3_K", "Q4_K") else name

    def _head_type(self, base: str, row_length: int) -> str:
        if not TYPES[base].fits(row_length):
            return "Q8_0"
        if self.name in _LOW_IQ or self.name == "IQ3_XXS":
            return "Q5_K"
        return base if base == "Q8_0" else "Q6_K"

    def _lookup_type(self, base: str) -> str:
        if self.name in ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"):
            return "Q2_K"
        if self.name in ("IQ2_S", "IQ2_M", "IQ3_XXS"):
            return "IQ3_S"
        return "Q4_K" if self.name in ("TQ1_0", "TQ2_0") else base


def unknown_layout(architecture: Architecture) -> tuple[str, ...]:
    """Facts of a shape that a GGUF file may store in ways not verified; empty for a known layout.

    One fused query, key and value is known of GPT-NeoX (Pythia's files), not of Falcon's grouped heads.
    """
    a = architecture
    unknown = list(a.beyond_llama)
    if a.norm is NormKind.LAYERNORM and not a.mlp.gated and a.num_kv_heads == a.num_heads:
        unknown = [name for name in unknown if name != "fused_qkv"]
    if a.position is not PositionKind.ROPE:
        unknown.append(f"position {a.position.value}")
    return tuple(unknown)


def _check_layout(architecture: Architecture, specs: tuple[TensorSpec, ...]) -> None:
    """Refuse a layout that is not known: no byte count is guessed, but the parameters are said."""
    if unknown := unknown_layout(architecture):
        raise InvalidArchitecture(
            f"model: llama.cpp's layout of {architecture.name!r} is not known yet (it has "
            f"{', '.join(unknown)}); its parameters are: {count_parameters(specs).total:,}"
        )


def _is_70b(num_layers: int, gqa: int) -> bool:
    return num_layers == 80 and gqa > 1


def fitting_type(name: str, row_length: int) -> BlockType:
    """The type of that name, or the one llama.cpp falls back to where rows do not divide into its blocks."""
    if not TYPES[name].fits(row_length):
        name = _FALLBACK.get(name, name)
    return TYPES[name] if TYPES[name].fits(row_length) else TYPES["F16"]


def mix(name: str) -> LlamaCppMix:
    """The mix of that name, ignoring case; an unknown one lists what is known."""
    by_upper = {n.upper(): n for n in BASE_TYPES}
    try:
        return LlamaCppMix(by_upper[name.strip().upper()])
    except KeyError:
        raise UnknownName.of("llama.cpp format", name, BASE_TYPES) from None
