"""Which trained models have a file layout here, and which trained tensor a stored one is."""

from __future__ import annotations

from search.training.experts import EXPERT_FIELDS
from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.tensors import TensorSpec


def check_layout(
    architecture: Architecture, *, ffn_by_layer: bool = False, windows: bool = True, experts: bool = False
) -> None:
    """Raise InvalidArchitecture unless the shape has Llama's blocks.

    FFN sizes by layer and experts (as Mixtral's) are refused unless asked for, and windows (with sinks, as
    Granite's) if not wanted.
    """
    a = architecture
    if a.layer_intermediate_sizes and not ffn_by_layer:
        raise InvalidArchitecture(
            f"model: {a.name} has FFN sizes by layer, which this target's Llama has not; accepted: --to gguf"
        )
    if a.num_experts and not experts:
        raise InvalidArchitecture(
            f"model: {a.name} has {a.num_experts} experts, which this target's Llama has not; accepted: "
            "--to gguf or hf"
        )
    granite = a.attention_sinks and bool(a.sliding_layers)
    if granite and not windows:
        raise InvalidArchitecture(
            f"model: {a.name} has sliding windows, which this target's Llama has not; accepted: --to gguf, "
            "hf or recipe"
        )
    known = ("attention_sinks", "layer_intermediate_sizes") if granite else ("layer_intermediate_sizes",)
    known = EXPERT_FIELDS if a.num_experts else known
    other = [
        *(name for name in a.beyond_llama if name not in known),
        *(("sliding_layers",) if a.sliding_layers and not granite else ()),
        *(f for f in ("qk_norm", "qkv_bias", "sub_norms", "shared_mlp") if getattr(a, f)),
    ]
    if other or a.mlp.value != "swiglu" or a.norm.value != "rmsnorm" or a.position.value != "rope":
        kinds = ", ".join(other) or f"{a.mlp.value}, {a.norm.value}, {a.position.value}"
        raise InvalidArchitecture(f"model: {a.name} has {kinds}; accepted: the blocks of Llama")


def trained_name(architecture: Architecture, spec: TensorSpec) -> str:
    """Return the name of the trained tensor that a tensor of the unrolled model holds.

    A file stores a shared block once for each run; it is trained once.
    """
    if spec.layer is None:
        return spec.name
    block = architecture.sharing.order(architecture.num_layers)[spec.layer]
    return spec.name.replace(f"layers.{spec.layer}.", f"layers.{block}.", 1)
