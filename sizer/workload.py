"""Workload: prompt, generated tokens, context, batch, KV cache type."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sizer.errors import InvalidQuantity, UnknownName, shown

CACHE_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL")
QUANTIZED_CACHE_TYPES = CACHE_TYPES[3:]
WEIGHTS_IN_MEMORY = ("mapped", "loaded", "repacked-avx2", "repacked-avx512", "repacked-arm")
DEFAULT_CONTEXT = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Tokens of prompt, generation and context; sequences at once; how KV cache and weights are held."""

    prompt_tokens: int = 128
    generated_tokens: int = 128
    context_tokens: int = DEFAULT_CONTEXT
    batch_size: int = 1
    ubatch_tokens: int = 512
    cache_type: str = "F16"
    flash_attention: bool = True
    weights_in_memory: str = "mapped"
    gpu_layers: int | None = None  # slots of llama.cpp on a card, the output the first; None: no card

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type != "int":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**31:
                raise InvalidQuantity(f"{f.name} must be a whole number from 1 to 2**31, got {shown(value)}")
        if self.cache_type not in CACHE_TYPES:
            raise UnknownName.of("cache type", self.cache_type, CACHE_TYPES)
        if self.weights_in_memory not in WEIGHTS_IN_MEMORY:
            raise UnknownName.of("weights_in_memory", str(self.weights_in_memory), WEIGHTS_IN_MEMORY)
        if self.gpu_layers is not None and (type(self.gpu_layers) is not int or self.gpu_layers < 0):
            raise InvalidQuantity(f"gpu_layers must be a whole number from 0, got {shown(self.gpu_layers)}")
        if self.prompt_tokens + self.generated_tokens > self.context_tokens:
            raise InvalidQuantity(
                f"context_tokens: prompt {self.prompt_tokens} + generated {self.generated_tokens} tokens "
                f"do not fit in a context of {self.context_tokens}"
            )
        if self.cache_type in QUANTIZED_CACHE_TYPES and not self.flash_attention:
            raise InvalidQuantity(
                f"cache_type: {self.cache_type} needs flash attention (llama.cpp refuses it without)"
            )

    @classmethod
    def within(cls, context_tokens: int, cache_type: str = "F16") -> Workload:
        """Return the usual prompt and answer in a context; at most half of the context each."""
        half = max(1, context_tokens // 2)
        return cls(
            context_tokens=context_tokens,
            prompt_tokens=min(cls().prompt_tokens, half),
            generated_tokens=min(cls().generated_tokens, half),
            cache_type=cache_type,
        )
