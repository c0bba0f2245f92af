"""What the runtimes outside llama.cpp have in common: formats by recipe, shared blocks once, float caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sizer.architecture import Architecture
from sizer.formats import recipe
from sizer.formats.recipe import Recipe
from sizer.formats.stored import StoredTensor
from sizer.memory import kv_bytes_per_token
from sizer.workload import WEIGHTS_IN_MEMORY, Workload


class RecipeRuntime:
    """A runtime whose formats are recipes; a subclass says file, memory and what to know about them."""

    name: str
    recipes: Mapping[str, Recipe]
    customary: Mapping[float, str]  # format its users mean by that many bits
    cache_types: tuple[str, ...] = ("F16",)
    weights_in_memory: tuple[str, ...] = WEIGHTS_IN_MEMORY[:1]
    memory_limit_bytes: int | None = None

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of its recipes."""
        return tuple(self.recipes)

    def format_name(self, text: str) -> str:
        """Canonical name of a recipe, ignoring case."""
        return recipe.canonical_name(self.name, self.recipes, text)

    def format_for_bits(self, bits: float) -> str:
        """Recipe its users customarily mean by that many bits."""
        return recipe.for_bits(self.name, self.customary, bits)

    def as_stored(self, architecture: Architecture) -> Architecture:
        """As it is: a block that runs twice is one module and stored once."""
        return architecture

    def store(self, architecture: Architecture, format_name: str) -> tuple[StoredTensor, ...]:
        """Every tensor of the file with the type its recipe gives it."""
        return self.recipes[format_name].assign(self.as_stored(architecture))

    def windowed_layers(self, architecture: Architecture) -> int:
        """None: the whole context is cached here, and taken to be read, whatever a model says of windows."""
        return 0


def cache_bytes(architecture: Architecture, workload: Workload, *, step: int = 1) -> int:
    """Bytes of the KV cache at full context, grown in steps of that many tokens."""
    cells = -(-workload.context_tokens // step) * step
    return workload.batch_size * cells * kv_bytes_per_token(architecture, workload.cache_type)


def block_activation_bytes(architecture: Architecture, tokens: int, float_bytes: int) -> int:
    """Bytes of the largest step inside a block: gate, up and their product beside residual and normed rows.

    An estimate from shapes: what an engine fuses or frees earlier makes it smaller, copies make it larger.
    """
    a = architecture
    feed_forward = (3 if a.mlp.gated else 2) * a.intermediate_size + 2 * a.hidden_size
    attention = 2 * a.q_width + 2 * a.kv_width + 2 * a.hidden_size
    return tokens * max(feed_forward, attention) * float_bytes


def sharing_note(architecture: Architecture, engine: str) -> tuple[str, ...]:
    """What an engine without a notion of shared blocks needs to keep them once; empty without any."""
    if architecture.sharing.repeat == 1:
        return ()
    return (
        f"shared blocks are stored once under {engine}: the model's code must run the same module "
        f"{architecture.sharing.repeat} times",
    )


def sum_bytes(stored: Sequence[StoredTensor]) -> int:
    """Bytes of all tensors."""
    return sum(tensor.num_bytes for tensor in stored)
