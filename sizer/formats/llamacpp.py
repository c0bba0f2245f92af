"""llama.cpp's quantization mixes: which ggml block type each tensor of a GGUF file gets.

Port of `llama_tensor_get_type` in llama.cpp `src/llama-quant.cpp` as the build in llama-cpp-python 0.3.36
has it, without an importance matrix, and compared tensor by tensor with what that build chose. Older builds
differ in two things: Q2_K and Q3_K fell back to IQ4_NL (of Q4_0's size), and one fused matrix of query, key
and value had rules of its own (Q5_K in Q4_K_M) where it now has those of a value matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, UnknownName
from sizer.formats.ggml import TYPES, BlockType
from sizer.formats.gguf_layout import gguf_layout, unknown_layout
from sizer.formats.stored import StoredTensor, stored_tensor
from sizer.tensors import Role, TensorSpec, count_parameters


class _Place(NamedTuple):
    """Where a tensor stands: number among its kind, of how many, query heads per KV head, 70B, experts."""

    number: int
    of: int
    gqa: int
    is_70b: bool
    experts: int = 0


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

_FLOATS = ("F32", "F16", "BF16")

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


def _middle(name: str) -> _Rule:
    return lambda p: name if p.of // 8 <= p.number < 7 * p.of // 8 else None


def _if_grouped(name: str, otherwise: str | None = None) -> _Rule:
    return lambda p: name if p.gqa >= 4 else otherwise


# Types that differ from the mix's base type, by role and mix. None: the base type after all.
_VALUE_RULES: Mapping[str, _Rule] = {
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
}
_RULES: Mapping[Role, Mapping[str, _Rule]] = {
    Role.VALUE: _VALUE_RULES,
    Role.QKV: _VALUE_RULES,
    Role.QUERY: {"IQ3_XS": _always("IQ3_XXS"), "IQ3_XXS": _always("IQ2_S")},
    Role.KEY: {"IQ3_XS": _always("IQ3_XXS"), "IQ3_XXS": _always("IQ2_S")},
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
    Role.GATE: {"IQ3_XS": _middle("IQ3_XXS")},
    **dict.fromkeys((Role.UP, Role.GATE_UP), {"IQ3_XS": _middle("IQ3_XXS")}),
}

# Falcon's own rules for the two roles, beside the IQ1 and IQ2 families, which ask for no model.
_FALCON_RULES: Mapping[Role, Mapping[str, _Rule]] = {
    **_RULES,
    Role.ATTENTION_OUTPUT: {
        "Q3_K_L": _always("Q4_K"),
        **{name: _RULES[Role.ATTENTION_OUTPUT][name] for name in ("IQ1_S", "IQ1_M", "IQ2_S", "IQ2_M")},
    },
    Role.DOWN: {
        **{name: rule for name, rule in _RULES[Role.DOWN].items() if name != "Q4_K_S"},
        "Q3_K_M": lambda p: "Q5_K" if p.number < p.of // 16 else "Q4_K" if _more_bits(p) else None,
        "Q3_K_L": _always("Q4_K"),
        "Q4_K_M": lambda p: "Q6_K" if p.number < p.of // 16 else "Q5_K" if _more_bits(p) else None,
    },
}

# Experts' matrices follow the rules of their kind; routers stay as the converter writes them.
_EXPERT_KINDS: Mapping[Role, Role] = {
    Role.GATE_EXPERTS: Role.GATE,
    Role.GATE_SHARED: Role.GATE,
    Role.UP_EXPERTS: Role.UP,
    Role.UP_SHARED: Role.UP,
    Role.DOWN_EXPERTS: Role.DOWN,
    Role.DOWN_SHARED: Role.DOWN,
}
_UNQUANTIZED = (Role.POSITION_EMBEDDING, Role.CONV, Role.ROUTER, Role.SHARED_ROUTER)
# Mixes in which attention's output has 5 bits where there are 8 experts.
_FIVE_BIT_OUTPUT = (
    *("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ3_XS", "IQ3_XXS", "IQ3_S", "IQ3_M", "IQ4_NL"),
    *("IQ4_XS", *_LOW_IQ),
)


class LlamaCppMix(NamedTuple):
    """A named llama.cpp file type such as Q4_K_M: a base type and rules that change it per tensor."""

    name: str

    def assign(self, architecture: Architecture, specs: tuple[TensorSpec, ...]) -> tuple[StoredTensor, ...]:
        """Block type of every tensor of an unrolled architecture (llama.cpp stores no shared blocks).

        Raises InvalidArchitecture for a shape whose layout in a GGUF file has not been checked.
        """
        layout = _checked_layout(architecture, specs)
        gqa = architecture.num_heads // architecture.num_kv_heads
        if 0 in architecture.conv_layers:
            gqa = 0  # llama_hparams::n_gqa asks the first layer, which has no KV heads
        is_70b = _is_70b(architecture.num_layers, gqa)
        counts: dict[Role, int] = {}
        for spec in specs:
            if len(spec.shape) > 1:
                counts[spec.role] = counts.get(spec.role, 0) + 1
        seen: dict[Role, int] = {}
        stored = []
        for spec in specs:
            if len(spec.shape) == 1:
                stored.append(stored_tensor(spec, TYPES["F32"]))
                continue
            index = seen.get(spec.role, 0)
            seen[spec.role] = index + 1
            place = _Place(index, counts.get(spec.role, 0), gqa, is_70b, architecture.num_experts)
            if spec.role in _EXPERT_KINDS and spec.layer is not None:
                place = place._replace(number=self._expert_number(architecture, spec, spec.layer))
            of_model = architecture.tie_embeddings, layout == "falcon"
            kind = _type_of(self, spec.role, spec.row_length, place, *of_model)
            stored.append(stored_tensor(spec, kind))
        return tuple(stored)

    def table_type(self, role: Role, row_length: int, *, tied: bool) -> str:
        """Type of the head or the token embedding, before a fallback for the length of its rows."""
        base = BASE_TYPES[self.name]
        if base in _FLOATS:
            return base
        return self._head_type(base, row_length) if tied or role is Role.OUTPUT else self._lookup_type(base)

    def layer_types(self, role: Role, num_layers: int, gqa: int) -> tuple[str, ...]:
        """Type of each layer's matrix of that role, before a fallback for the length of its rows."""
        is_70b = _is_70b(num_layers, gqa)
        return tuple(self.matrix_type(role, _Place(i, num_layers, gqa, is_70b)) for i in range(num_layers))

    def matrix_type(self, role: Role, place: _Place, *, falcon: bool = False) -> str:
        """Type of a matrix of the blocks, before a fallback for the length of its rows."""
        base = BASE_TYPES[self.name]
        if base in _FLOATS:
            return base
        role = _EXPERT_KINDS.get(role, role)
        rule = (_FALCON_RULES if falcon else _RULES).get(role, {}).get(self.name)
        name = (rule(place) if rule else None) or base
        if place.is_70b and role in (Role.VALUE, Role.QKV) and name in ("Q3_K", "Q4_K"):
            name = "Q5_K"
        return self._with_experts(role, place, name) if place.experts else name

    def _expert_number(self, architecture: Architecture, spec: TensorSpec, layer: int) -> int:
        """The layer; mixes of few bits count a layer's routed and shared experts one after the other."""
        if self.name not in _LOW_IQ or not architecture.shared_expert_intermediate_size:
            return layer
        return 2 * layer + (spec.role is Role.DOWN_SHARED)

    def _with_experts(self, role: Role, place: _Place, name: str) -> str:
        """Type in a model of experts, whose attention is small beside them: with 8 of them more bits."""
        low = self.name in _LOW_IQ
        if role is Role.VALUE and low and place.experts >= 4:
            return "Q4_K"
        if place.experts != 8:
            return name
        if role in (Role.VALUE, Role.KEY):
            return "Q4_K" if low else "Q8_0"
        if role is Role.ATTENTION_OUTPUT:
            return "Q5_K" if self.name in _FIVE_BIT_OUTPUT else BASE_TYPES[self.name]
        if role is Role.DOWN and self.name == "IQ3_M" and _more_bits(place):
            return "Q4_K"
        return name

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


def _checked_layout(architecture: Architecture, specs: tuple[TensorSpec, ...]) -> str:
    """Name of the layout; a shape that llama.cpp does not run is refused, but its parameters are said."""
    layout = gguf_layout(architecture)
    if layout is None:
        raise InvalidArchitecture(
            f"model: llama.cpp does not run the kind of {architecture.name!r} (no model there joins "
            f"{', '.join(unknown_layout(architecture))} with the rest of this shape); "
            f"its parameters are: {count_parameters(specs).total:,}"
        )
    return layout


@lru_cache(maxsize=65_536)
def _type_of(
    by: LlamaCppMix, role: Role, row_length: int, place: _Place, tied: bool, falcon: bool
) -> BlockType:
    """Type of a matrix or a table."""
    if role in _UNQUANTIZED:
        return TYPES["F32"]
    if role in (Role.OUTPUT, Role.TOKEN_EMBEDDING):
        name = by.table_type(role, row_length, tied=tied)
        if falcon and (tied or role is Role.OUTPUT) and name not in _FLOATS:
            name = "Q8_0"
    else:
        name = by.matrix_type(role, place, falcon=falcon)
    return fitting_type(name, row_length)


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
