"""llama.cpp's quantization mixes: which ggml block type each tensor of a GGUF file gets.

Port of `llama_tensor_get_type` in llama.cpp `src/llama-quant.cpp` as the build in llama-cpp-python 0.3.36
has it, without an importance matrix, and compared tensor by tensor with what that build chose. Older builds
differ in two things: Q2_K and Q3_K fell back to IQ4_NL (of Q4_0's size), and one fused matrix of query, key
and value had separate rules (Q5_K in Q4_K_M) where it now has those of a value matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, UnknownName
from sizer.formats.ggml import TYPES, BlockType
from sizer.formats.gguf_layout import gguf_layout, unknown_layout
from sizer.formats.mix_rules import FALCON_RULES, LOW_IQ, RULES, MatrixPlace, more_bits
from sizer.formats.stored import StoredGroup, StoredTensor, stored_tensor
from sizer.shape_words import in_words
from sizer.tensor_spec import Layers
from sizer.tensors import Role, TensorGroup, TensorSpec, each_by_itself

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
    "MXFP4_MOE": "MXFP4",
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

# Experts' matrices follow the rules of their kind; routers stay as the converter writes them.
_EXPERT_KINDS: Mapping[Role, Role] = {
    Role.GATE_EXPERTS: Role.GATE,
    Role.GATE_SHARED: Role.GATE,
    Role.UP_EXPERTS: Role.UP,
    Role.UP_SHARED: Role.UP,
    Role.DOWN_EXPERTS: Role.DOWN,
    Role.DOWN_SHARED: Role.DOWN,
}
_UNQUANTIZED = (
    *(Role.POSITION_EMBEDDING, Role.CONV, Role.ROUTER, Role.SHARED_ROUTER),
    *(Role.SSM_CONV, Role.SSM_A, Role.SSM_D, Role.SSM_NORM),
    *(Role.ALTUP_CORRECTION, Role.ALTUP_PREDICTION),
)
# Matrices that stay at 16 bits, as a converter writes them.
_HALF = (
    *(Role.ALTUP_PROJECTIONS, Role.ALTUP_UNEMBED_PROJECTIONS, Role.ALTUP_ROUTER),
    *(Role.LAUREL_LEFT, Role.LAUREL_RIGHT, Role.PER_LAYER_PROJECTION),
)
# Matrices that llama-quantize takes for one that makes values, and counts together; the same of others.
_VALUE_ROLES = (Role.VALUE, Role.QKV, Role.LATENT_UP)
_TABLES = (Role.OUTPUT, Role.TOKEN_EMBEDDING, Role.PER_LAYER_EMBEDDING)
_THREE_DIMENSIONS = (
    *(Role.GATE_EXPERTS, Role.UP_EXPERTS, Role.DOWN_EXPERTS, Role.LATENT_KEY, Role.LATENT_VALUE),
)
_COUNTED_AS: Mapping[Role, Role] = {**dict.fromkeys(_VALUE_ROLES, Role.VALUE), **_EXPERT_KINDS}
# Mixes in which attention's output has 5 bits where there are 8 experts.
_FIVE_BIT_OUTPUT = (
    *("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ3_XS", "IQ3_XXS", "IQ3_S", "IQ3_M", "IQ4_NL"),
    *("IQ4_XS", *LOW_IQ),
)


class LlamaCppMix(NamedTuple):
    """A named llama.cpp file type such as Q4_K_M: a base type and rules that change it per tensor."""

    name: str

    def assign(self, architecture: Architecture, specs: Iterable[TensorSpec]) -> tuple[StoredTensor, ...]:
        """Return block type of each of an unrolled architecture's tensors (llama.cpp shares no blocks)."""
        return tuple(tensor for tensor, _ in self.assign_groups(architecture, each_by_itself(specs)))

    def assign_groups(
        self, architecture: Architecture, groups: Sequence[TensorGroup]
    ) -> tuple[StoredGroup, ...]:
        """Return block types of the tensors of every group; a group of several types becomes several.

        Raises InvalidArchitecture for a shape whose layout in a GGUF file has not been checked.
        """
        layout = _checked_layout(architecture)
        a = architecture
        gqa = a.num_heads // max(a.num_kv_heads, 1)
        if a.conv_layers or a.recurrent or a.latent_attention:
            from sizer.formats.gguf_other_layers import query_groups

            gqa = query_groups(a)
        is_70b = _is_70b(a.num_layers, gqa) and not (a.recurrent or a.latent_attention)
        of_matrices = iter(
            _types_of_matrices(
                self,
                tuple((spec.role, layers) for spec, layers in groups if _is_matrix_of_layers(spec)),
                _Model(a.num_layers, gqa >= 4, is_70b, a.num_experts, layout == "falcon"),
            )
        )
        stored: list[StoredGroup] = []
        for spec, layers in groups:
            if len(spec.shape) == 1 or spec.is_bias:
                stored.append((stored_tensor(spec, TYPES["F32"]), layers))
            elif spec.role in _TABLES:
                name = self._type_of_table(spec, tied=a.tie_embeddings, falcon=layout == "falcon")
                stored.append((stored_tensor(spec, fitting_type(name, spec.row_length)), layers))
            else:
                row_length = spec.row_length
                for name, some in next(of_matrices):
                    stored.append((stored_tensor(spec, fitting_type(name, row_length)), some))
        return tuple(stored)

    def _type_of_table(self, spec: TensorSpec, *, tied: bool, falcon: bool) -> str:
        name = self.table_type(spec.role, spec.row_length, tied=tied)
        if falcon and (tied or spec.role is Role.OUTPUT) and name not in _FLOATS:
            return "Q8_0"
        return name

    def table_type(self, role: Role, row_length: int, *, tied: bool) -> str:
        """Return type of the head or the token embedding, before a fallback for the length of its rows."""
        base = BASE_TYPES[self.name]
        if base in _FLOATS:
            return base
        if base == "MXFP4":
            return "Q8_0"
        return self._head_type(base, row_length) if tied or role is Role.OUTPUT else self._lookup_type(base)

    def layer_types(self, role: Role, num_layers: int, gqa: int) -> tuple[str, ...]:
        """Return type of each layer's matrix of that role, before a fallback for the length of its rows."""
        place = MatrixPlace(0, num_layers, gqa >= 4, _is_70b(num_layers, gqa))
        return tuple(self.matrix_type(role, place._replace(number=i)) for i in range(num_layers))

    def matrix_type(self, role: Role, place: MatrixPlace, *, falcon: bool = False) -> str:
        """Return the type of a matrix of the blocks, before a fallback for the length of its rows."""
        base = BASE_TYPES[self.name]
        if base in _FLOATS:
            return base
        if base == "MXFP4":  # matrices of one layer's experts, or heads, in one tensor
            return base if role in _THREE_DIMENSIONS else "Q8_0"
        role = _EXPERT_KINDS.get(role, role)
        rule = (FALCON_RULES if falcon else RULES).get(role, {}).get(self.name)
        name = (rule(place) if rule else None) or base
        if place.is_70b and role in _VALUE_ROLES and name in ("Q3_K", "Q4_K"):
            name = "Q5_K"
        return self._with_experts(role, place, name) if place.experts else name

    def _with_experts(self, role: Role, place: MatrixPlace, name: str) -> str:
        """Return the type in a model of experts, where 8 experts give attention more bits."""
        low = self.name in LOW_IQ
        if role in _VALUE_ROLES and low and place.experts >= 4:
            return "Q4_K"
        if place.experts != 8:
            return name
        if role in _VALUE_ROLES or role is Role.KEY:
            return "Q4_K" if low else "Q8_0"
        if role is Role.ATTENTION_OUTPUT:
            return "Q5_K" if self.name in _FIVE_BIT_OUTPUT else BASE_TYPES[self.name]
        if role is Role.DOWN and self.name == "IQ3_M" and more_bits(place):
            return "Q4_K"
        return name

    def _head_type(self, base: str, row_length: int) -> str:
        if not TYPES[base].fits(row_length):
            return "Q8_0"
        if self.name in LOW_IQ or self.name == "IQ3_XXS":
            return "Q5_K"
        return base if base == "Q8_0" else "Q6_K"

    def _lookup_type(self, base: str) -> str:
        if self.name in ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"):
            return "Q2_K"
        if self.name in ("IQ2_S", "IQ2_M", "IQ3_XXS"):
            return "IQ3_S"
        return "Q4_K" if self.name in ("TQ1_0", "TQ2_0") else base


_BY_UPPER = {name.upper(): LlamaCppMix(name) for name in BASE_TYPES}


def _checked_layout(architecture: Architecture) -> str:
    """Return the name of the layout; raise InvalidArchitecture for a shape that llama.cpp does not run."""
    layout = gguf_layout(architecture)
    if layout is None:
        raise InvalidArchitecture(
            "model: llama.cpp runs no model of this kind (it has "
            f"{in_words(unknown_layout(architecture))}, which no family there has with the rest of its shape)"
        )
    return layout


class _Model(NamedTuple):
    """What of a model decides on the types of its matrices, before a fallback for the length of rows."""

    num_layers: int
    is_grouped: bool
    is_70b: bool
    experts: int
    is_falcon: bool


# The role of each matrix of the layers, and the layers that have it.
_Matrices = tuple[tuple[Role, Layers], ...]


def _is_matrix_of_layers(spec: TensorSpec) -> bool:
    return len(spec.shape) > 1 and spec.role not in _TABLES and not spec.is_bias


class _Numbers:
    """Numbers of matrices among those that llama-quantize counts together, in the order of the layers."""

    def __init__(self, matrices: _Matrices, *, by_layer: bool) -> None:
        self._by_layer = by_layer  # with experts, feed-forward matrices go by the layer in their names
        self._matrices = matrices
        self._places: dict[Role, Mapping[tuple[int, Role], int]] = {}

    def of(self, role: Role, layers: Layers) -> Sequence[int]:
        """Return the number of a matrix of that role in each of these layers."""
        counted = _COUNTED_AS.get(role, role)
        if self._by_layer and layers[0] is not None and counted in (Role.DOWN, Role.GATE, Role.UP):
            return tuple(layer for layer in layers if layer is not None)
        if counted not in self._places:
            self._places[counted] = self._numbered(counted)
        return tuple(self._places[counted][layer or 0, role] for layer in layers)

    def _numbered(self, counted: Role) -> Mapping[tuple[int, Role], int]:
        """Number the matrices of a kind; of two in a layer the one that is listed first there comes first."""
        held = [
            (layer or 0, at, role)
            for at, (role, layers) in enumerate(self._matrices)
            if _COUNTED_AS.get(role, role) is counted
            for layer in layers
        ]
        return {(layer, role): number for number, (layer, _, role) in enumerate(sorted(held))}


# Shapes of one depth have the same types; those of thousands of layers, a broken file's, are few.
@lru_cache(maxsize=256)
def _types_of_matrices(
    by: LlamaCppMix, matrices: _Matrices, model: _Model
) -> tuple[tuple[tuple[str, Layers], ...], ...]:
    """Return the types of each matrix, each with its layers, before a fallback for the length of rows."""
    attention = sum(len(layers) for role, layers in matrices if role in _VALUE_ROLES)
    numbers = _Numbers(matrices, by_layer=model.experts > 1 and by.name not in LOW_IQ)
    found = []
    for role, layers in matrices:
        of = attention if _COUNTED_AS.get(role) is Role.VALUE else model.num_layers
        place = MatrixPlace(0, of, model.is_grouped, model.is_70b, model.experts)
        # of Llama's kind no two matrices of a layer are counted together
        is_alone = not model.experts and len(layers) == model.num_layers
        numbered = range(len(layers)) if is_alone else numbers.of(role, layers)
        found.append(_types_of_layers(by, role, place, layers, numbered, model.is_falcon))
    return tuple(found)


def _types_of_layers(
    by: LlamaCppMix, role: Role, first: MatrixPlace, layers: Layers, numbers: Sequence[int], falcon: bool
) -> tuple[tuple[str, Layers], ...]:
    """Return the types of a matrix in these layers, each with its layers, before a fallback for its rows."""
    if role in _UNQUANTIZED:
        return (("F32", layers),)
    if role in _HALF:
        base = BASE_TYPES[by.name]
        return ((base if base in _FLOATS else "F16", layers),)
    found: dict[str, list[int | None]] = {}
    for number, layer in zip(numbers, layers, strict=True):
        found.setdefault(by.matrix_type(role, first._replace(number=number), falcon=falcon), []).append(layer)
    return tuple((name, layers if len(found) == 1 else tuple(some)) for name, some in found.items())


def _is_70b(num_layers: int, gqa: int) -> bool:
    return num_layers == 80 and gqa > 1


# Widths of rows are few.
@lru_cache(maxsize=4096)
def fitting_type(name: str, row_length: int) -> BlockType:
    """Return the type of that name, or llama.cpp's fallback if rows do not divide into its blocks."""
    found = TYPES[name]
    if not found.fits(row_length):
        found = TYPES[_FALLBACK.get(name, name)]
    return found if found.fits(row_length) else TYPES["F16"]


def mix(name: str) -> LlamaCppMix:
    """Return the mix of that name, ignoring case; an unknown one lists what is known."""
    known = _BY_UPPER.get(name.strip().upper())
    if known is None:
        raise UnknownName.of("llama.cpp format", name, BASE_TYPES)
    return known
