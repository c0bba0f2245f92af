"""Which trained models have a file layout here, and which trained tensor a stored one is."""

from __future__ import annotations

from sizer.architecture import Architecture
from sizer.block_kinds import EXPERT_FIELDS
from sizer.errors import InvalidArchitecture
from sizer.tensors import TensorSpec

# Names of LFM2's modules in transformers, by those that they have in Llama and here
_LFM2_NAMES = {
    "model.norm": "model.embedding_norm",
    "input_layernorm": "operator_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_norm": "self_attn.q_layernorm",
    "self_attn.k_norm": "self_attn.k_layernorm",
    "self_attn.o_proj": "self_attn.out_proj",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
}
# Names of an expert's matrices in files of Mixtral
_MIXTRAL_MATRICES = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


def check_layout(
    architecture: Architecture,
    *,
    ffn_by_layer: bool = False,
    windows: bool = True,
    convolutions: bool = True,
    experts: bool = False,
) -> None:
    """Raise InvalidArchitecture unless the shape has Llama's blocks.

    FFN sizes by layer and experts (as Mixtral's) are refused unless asked for; windows (with sinks, as
    Granite's) and short convolutions (with norms of query and key, as LFM2's) if not wanted.
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
    lfm2 = bool(a.conv_layers) and a.qk_norm
    if lfm2 and not convolutions:
        raise InvalidArchitecture(
            f"model: {a.name} has short convolutions, which this target's Llama has not; accepted: "
            "--to gguf, hf or recipe"
        )
    known = ("attention_sinks",) if granite else ("conv_layers",) if lfm2 else ("layer_intermediate_sizes",)
    other = [
        *(name for name in a.beyond_llama if name not in (EXPERT_FIELDS if a.num_experts else known)),
        *(("sliding_layers",) if a.sliding_layers and not granite else ()),
        *(("qk_norm",) if a.qk_norm and not lfm2 else ()),
        *(f for f in ("qkv_bias", "sub_norms", "shared_mlp") if getattr(a, f)),
    ]
    if other or a.mlp.value != "swiglu" or a.norm.value != "rmsnorm" or a.position.value != "rope":
        kinds = ", ".join(other) or f"{a.mlp.value}, {a.norm.value}, {a.position.value}"
        raise InvalidArchitecture(f"model: {a.name} has {kinds}; accepted: the blocks of Llama")


def huggingface_name(architecture: Architecture, name: str) -> str:
    """Return what transformers calls a trained tensor in a model of that kind."""
    if architecture.conv_layers:
        for ours, theirs in _LFM2_NAMES.items():
            if f"{ours}." in name:
                return name.replace(ours, theirs, 1)
    return name


def huggingface_names(architecture: Architecture, spec: TensorSpec) -> tuple[str, ...]:
    """Return the names under which transformers' files hold a tensor: in Mixtral's one for each expert."""
    name = spec.name
    if not architecture.num_experts or ".mlp." not in name:
        return (huggingface_name(architecture, name),)
    name = name.replace(".mlp.", ".block_sparse_moe.")
    if spec.used_experts is None:
        return (name,)
    before, matrix = name.rsplit(".experts.", 1)
    theirs = _MIXTRAL_MATRICES[matrix.removesuffix(".weight")]
    return tuple(f"{before}.experts.{number}.{theirs}.weight" for number in range(architecture.num_experts))


def trained_name(architecture: Architecture, spec: TensorSpec) -> str:
    """Return the name of the trained tensor that a tensor of the unrolled model holds.

    A file stores a shared block once for each run; it is trained once.
    """
    if spec.layer is None:
        return spec.name
    block = architecture.sharing.order(architecture.num_layers)[spec.layer]
    return spec.name.replace(f"layers.{spec.layer}.", f"layers.{block}.", 1)
