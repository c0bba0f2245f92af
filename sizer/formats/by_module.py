"""Weights of a model in a format that some of its modules do not share: kept as they were, or other bits.

Tools name those modules in a checkpoint's config; a rule finds them and says what they are stored as.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.formats.recipe import Recipe
from sizer.formats.stored import StorageType, StoredTensor, stored_tensor
from sizer.tensors import TensorSpec, tensor_specs


class ModuleRule(NamedTuple):
    """Modules of a config's rules: `find` has the name by which a module is meant, None if it is not."""

    find: Callable[[str], str | None]
    names: frozenset[str]
    type: StorageType | None  # None: stored as the rest of the model


class ByModule(NamedTuple):
    """A format, and rules for modules that are stored otherwise; the first rule that means one counts."""

    recipe: Recipe
    rules: tuple[ModuleRule, ...]

    def store(self, architecture: Architecture) -> tuple[tuple[StoredTensor, ...], int]:
        """Return every tensor with its type, and how many names mean no matrix of the architecture."""
        used: set[str] = set()
        stored = tuple(stored_tensor(spec, self._type(spec, used)) for spec in tensor_specs(architecture))
        named = frozenset().union(*(rule.names for rule in self.rules))
        return stored, len(named - used)

    def _type(self, spec: TensorSpec, used: set[str]) -> StorageType:
        if len(spec.shape) > 1 and spec.name.endswith(".weight"):
            module = spec.name.removesuffix(".weight")
            for rule in self.rules:
                if (name := rule.find(module)) is not None:
                    used.add(name)
                    kind = rule.type or self.recipe.rest
                    return kind if kind.fits(spec.row_length) else self.recipe.rest
        return self.recipe.type_of(spec)
