"""Short labels of shapes."""

from __future__ import annotations

from search.space.convolved import convolutions_in
from search.space.experts import experts_in
from search.space.windowed import windows_in
from sizer.architecture import Architecture


def shape_name(architecture: Architecture) -> str:
    """Return a short label of a shape: layers x width, heads, experts, FFN size, other layers, sharing."""
    a = architecture
    shared = f" {a.sharing.strategy.value}x{a.sharing.repeat}" if a.sharing.repeat > 1 else ""
    shared += f"e{a.sharing.ends}" if a.sharing.ends else ""
    tied = "" if a.tie_embeddings else " untied"
    heads = f"{a.num_heads}/{a.num_kv_heads}h"
    sizes = a.layer_intermediate_sizes
    ffn = f"{sizes[0]}-{sizes[-1]}" if sizes else str(a.intermediate_size)
    experts = experts_in(a)
    of_experts = f"{experts.used}of{experts.count}x" if experts.count > 1 else "ff"
    windows = windows_in(a)
    window = f" w{windows.positions}/{windows.full_every}" if windows.positions else ""
    convolutions = convolutions_in(a)
    kernel = f" c{convolutions.kernel}/{convolutions.attention_every}" if convolutions.kernel else ""
    return f"{a.num_layers}x{a.hidden_size} {heads} {of_experts}{ffn}{window}{kernel}{shared}{tied}"
