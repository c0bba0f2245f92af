"""Recipes: which storage type the matrices, the embedding, the head and the rest of a model get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity, UnknownName
from sizer.formats.groups import BF16, F16, F32
from sizer.formats.stored import StorageType, StoredModel, StoredTensor, stored_tensor
from sizer.tensors import Access, Role, TensorSpec, tensor_groups, tensor_specs


class Recipe(NamedTuple):
    """A named weight format. Rows that do not fit their type are stored as `misfit`, or as the rest."""

    name: str
    bits: float  # nominal, of the matrices
    matrix: StorageType
    embedding: StorageType
    head: StorageType
    rest: StorageType  # norms, biases, convolutions
    about: str  # what is stored how, in a sentence with its source
    unties: bool = False  # a tied table is stored again for the head
    misfit: StorageType | None = None
    experts_only: bool = False  # of the matrices, only experts get `matrix`; others are stored as the rest

    @property
    def types(self) -> tuple[StorageType, ...]:
        """Every storage type that a tensor can get."""
        kinds = (self.matrix, self.embedding, self.head, self.rest)
        return kinds if self.misfit is None else (*kinds, self.misfit)

    def assign(self, architecture: Architecture) -> Sequence[StoredTensor]:
        """Return every stored tensor of an architecture with its type."""
        if self.unties and architecture.tie_embeddings:
            architecture = replace(architecture, tie_embeddings=False)
        groups = tuple(
            (stored_tensor(spec, self.type_of(spec)), layers) for spec, layers in tensor_groups(architecture)
        )
        return StoredModel(groups, partial(self._listed, architecture))

    def _listed(self, architecture: Architecture) -> tuple[StoredTensor, ...]:
        return tuple(stored_tensor(spec, self.type_of(spec)) for spec in tensor_specs(architecture))

    def type_of(self, spec: TensorSpec) -> StorageType:
        """Return the type one tensor is stored as."""
        if len(spec.shape) == 1 or spec.access is Access.VECTOR:
            return self.rest
        if spec.role in (Role.TOKEN_EMBEDDING, Role.POSITION_EMBEDDING, Role.PER_LAYER_EMBEDDING):
            wanted = self.embedding
        elif self.experts_only and spec.used_experts is None and spec.role is not Role.OUTPUT:
            return self.rest
        else:
            wanted = self.head if spec.role is Role.OUTPUT else self.matrix
        return wanted if wanted.fits(spec.row_length) else self.misfit or self.rest


PLAIN = tuple(
    Recipe(name, bits, kind, kind, kind, kind, f"every tensor {kind.name}")
    for name, kind, bits in (("fp32", F32, 32), ("fp16", F16, 16), ("bf16", BF16, 16))
)


def by_name(recipes: Iterable[Recipe]) -> Mapping[str, Recipe]:
    """Return recipes by their name."""
    return {recipe.name: recipe for recipe in recipes}


def canonical_name(runtime: str, recipes: Iterable[str], text: str) -> str:
    """Return the name of a runtime's recipe, ignoring case; an unknown one lists what is known."""
    wanted = text.strip().lower()
    for name in recipes:
        if name.lower() == wanted:
            return name
    raise UnknownName.of(f"{runtime} format", text, recipes)


def for_bits(runtime: str, customary: Mapping[float, str], bits: float) -> str:
    """Return the name of the recipe that a runtime's users customarily mean by that many bits."""
    if bits not in customary:
        raise InvalidQuantity(
            f"bits: {runtime} has no customary format for {bits:g} bits; "
            f"accepted: {', '.join(f'{b:g}' for b in sorted(customary))}"
        )
    return customary[bits]
