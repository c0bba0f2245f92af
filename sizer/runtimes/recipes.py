"""What the runtimes outside llama.cpp have in common: formats by recipe, shared blocks once, float caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sizer.architecture import Architecture, PositionKind
from sizer.errors import InvalidArchitecture
from sizer.formats import recipe
from sizer.formats.ggml import TYPES
from sizer.formats.recipe import Recipe
from sizer.formats.stored import StorageType, StoredTensor
from sizer.memory import (
    convolution_state_elements,
    expanded_bytes_per_token,
    kv_bytes_per_token,
    kv_row_bytes,
    recurrent_state_elements,
)
from sizer.runtimes.base import Searchable
from sizer.shape_words import in_words
from sizer.workload import WEIGHTS_IN_MEMORY, Workload


class RecipeRuntime(Searchable):
    """A runtime whose formats are recipes; a subclass states file, memory and what to know about them."""

    name: str
    backends: tuple[str, ...]
    recipes: Mapping[str, Recipe]
    customary: Mapping[float, str]  # format its users mean by that many bits
    unlisted: frozenset[str] = frozenset()  # recipes that are read but no longer offered
    aliases: Mapping[str, str] = {}  # other names that its users know
    cache_types: tuple[str, ...] = ("F16",)
    weights_in_memory: tuple[str, ...] = WEIGHTS_IN_MEMORY[:1]
    memory_limit_bytes: int | None = None
    kinds_not_run: tuple[str, ...] = ()  # fields of Architecture that no model of this engine has
    runs_any_positions: bool = True  # False: rotary ones, and learned ones as GPT-2 has them
    why_one_ffn_size: str | None = "its Llama has one size for all layers"
    why_no_experts: str | None = "its Llama has none, and no search checks how its other models round them"
    why_no_windows: str | None = "its Llama has neither windows nor attention sinks"
    why_no_convolutions: str | None = "its Llama has attention in every layer"
    why_no_grid: str | None = "sizer.grid knows the block types of llama.cpp only"

    def fixed_cache_type(self, format_name: str) -> str | None:
        """Return none: the workload chooses the type of the KV cache."""
        return None

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of its recipes."""
        return tuple(name for name in self.recipes if name not in self.unlisted)

    def types_of(self, format_name: str) -> Sequence[StorageType]:
        """Return the storage types of a recipe."""
        return self.recipes[format_name].types

    def format_name(self, text: str) -> str:
        """Return canonical name of a recipe, ignoring case."""
        wanted = text.strip().lower()
        if wanted in self.aliases:
            return self.aliases[wanted]
        if wanted in self.unlisted:
            return wanted
        return self.format_or_alias(text, lambda: recipe.canonical_name(self.name, self.formats, text))

    @property
    def customary_formats(self) -> Mapping[float, str]:
        """Recipes its users mean by a number of bits."""
        return self.customary

    def format_for_bits(self, bits: float) -> str:
        """Return the recipe its users customarily mean by that many bits."""
        return recipe.for_bits(self.name, self.customary, bits)

    def as_stored(self, architecture: Architecture) -> Architecture:
        """Return the architecture as it is: a block that runs twice is one module, stored once."""
        return architecture

    def store(self, architecture: Architecture, format_name: str) -> Sequence[StoredTensor]:
        """Return every tensor of the file with the type its recipe gives it; refuse unknown kinds."""
        a = architecture
        gpt2 = a.position is PositionKind.LEARNED and a.fused_qkv
        usual = a.position in (PositionKind.ROPE, PositionKind.NONE)
        unknown = [field for field in self.kinds_not_run if getattr(a, field)]
        if not (self.runs_any_positions or usual or gpt2):
            unknown.append(f"position {a.position.value}")
        if unknown:
            raise InvalidArchitecture(
                f"model: {self.name} runs no model of this kind (it has {in_words(unknown)})"
            )
        return self.recipes[format_name].assign(self.as_stored(architecture))

    def windowed_layers(self, architecture: Architecture) -> int:
        """Return none: the whole context is cached and read here, whatever windows a model has."""
        return 0


def cache_bytes(
    architecture: Architecture,
    workload: Workload,
    *,
    step: int = 1,
    windowed_layers: int = 0,
    whole_kernel: bool = False,
    expands_latent: bool = False,
) -> int:
    """Return the bytes of the KV cache at full context, grown in steps of that many tokens, and of states.

    `windowed_layers` of them keep no more tokens than their window. `expands_latent`: an engine that caches
    the keys and values that latent attention makes, instead of the row it makes them from.
    """
    a, cells = architecture, -(-workload.context_tokens // step) * step
    per_token = expanded_bytes_per_token if expands_latent else kv_bytes_per_token
    kept = cells * per_token(a, workload.cache_type)
    if windowed_layers and a.sliding_window is not None and a.sliding_window < cells:
        beyond = cells - a.sliding_window
        kept -= beyond * windowed_layers * 2 * kv_row_bytes(a, workload.cache_type)
    states = sequence_state_bytes(a, workload.cache_type, whole_kernel=whole_kernel)
    return workload.batch_size * (kept + states)


def sliding_runs(architecture: Architecture) -> int:
    """Return how many of the executed layers cache keys and values of the sliding window alone."""
    a = architecture
    caching = (layer for layer in a.sliding_layers if layer < a.num_layers - a.shared_kv_layers)
    return sum(a.sharing.runs(layer, a.num_layers) for layer in caching)


def sequence_state_bytes(architecture: Architecture, cache_type: str, *, whole_kernel: bool = False) -> int:
    """Return bytes of one sequence's convolution states, in the cache's type, and recurrent ones, in F32."""
    inputs = convolution_state_elements(architecture, whole_kernel=whole_kernel)
    return TYPES[cache_type].row_bytes(inputs) + 4 * recurrent_state_elements(architecture)


def block_activation_bytes(architecture: Architecture, tokens: int, float_bytes: int) -> int:
    """Return bytes of the largest step in a block: gate, up, product, residual and normed rows.

    An estimate from shapes: what an engine fuses or frees earlier makes it smaller, copies make it larger.
    """
    a = architecture
    feed_forward = (3 if a.mlp.gated else 2) * a.intermediate_size + 2 * a.hidden_size
    mixer = 2 * a.hidden_size + 2 * max((kind.conv_channels for _, kind in a.recurrent), default=0)
    attention = 2 * a.q_width + 2 * a.kv_width + 2 * a.hidden_size
    return tokens * max(feed_forward, mixer, attention) * float_bytes


def sharing_note(architecture: Architecture, engine: str) -> tuple[str, ...]:
    """Return what an engine without a notion of shared blocks needs to keep them once; empty without any."""
    if architecture.sharing.repeat == 1:
        return ()
    return (
        f"shared blocks are stored once under {engine}: the model's code must run the same module "
        f"{architecture.sharing.repeat} times",
    )
