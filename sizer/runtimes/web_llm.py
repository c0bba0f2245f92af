"""WebLLM in a browser: models that mlc-llm compiled for WebGPU, and the memory their builds reserve.

A build keeps its cache in its own float type, and reserves its temporary buffers for a whole chunk of the
prompt when it is compiled (mlc-llm at 79d603f0, compiler_pass/estimate_memory_usage.py: the largest sum of
planned buffers of any of its functions, outputs included).
"""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture, BlockNorms, NormKind
from sizer.formats import mlc
from sizer.formats.stored import FileBytes, StoredTensor, sum_bytes
from sizer.memory import MemoryBreakdown
from sizer.runtimes.browser import buffer_notes
from sizer.runtimes.recipes import RecipeRuntime, cache_bytes, sharing_note
from sizer.units import format_bytes_binary
from sizer.workload import Workload

# All of WebLLM's builds: `cs1k` in the names of its libraries (web-llm at c51c9c0b, src/config.ts).
CHUNK_TOKENS = 1024

# Families whose model definition in mlc-llm has a head of a fixed number of rows (`config.vocab_size`). Their
# `batch_verify` returns 32-bit logits of a whole chunk, so that memory is reserved for them. Where the number
# is a symbol ("vocab_size": Llama, Mistral, Gemma, GPT-NeoX, Phi ...), no size is known and none is reserved.
_FIXED_VOCABULARY = frozenset(
    (
        *("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_5", "qwen3_5_text", "stablelm", "starcoder2"),
        *("olmo", "olmo2", "ministral3", "minicpm", "internlm", "internlm2", "internlm3", "baichuan"),
        *("deepseek", "deepseek_v2", "deepseek_v3", "chatglm", "gptj"),
    )
)

# FuseAddRMSNorm (compiler_pass/fuse_add_norm.py): 16-bit builds whose rows are whole groups of as many
# elements as a workgroup of TVM's WebGPU target has threads.
_NORM_THREADS = 256

_LOGIT_BYTES = 4

# lib/index.js of the npm package @mlc-ai/web-llm 0.2.86, and the WebAssembly of a model's kernels: 3.57 to
# 4.18 MB of those in binary-mlc-llm-libs at 9ee759c.
_LIBRARY_BYTES = 6_817_339
_KERNELS_BYTES = 4_000_000


class WebLlm(RecipeRuntime):
    """WebLLM: MLC-compiled models on WebGPU."""

    name = "web-llm"
    backends = ("webgpu",)
    # nor Mamba's, Gemma 3n's and 4's, gpt-oss's and Nemotron-H's layers
    kinds_not_run = (
        *("mamba", "mamba2", "per_layer_inputs", "shared_transformer", "global_attention"),
        *("attention_sinks", "layers_without_mixer"),
    )
    runs_any_positions = False  # python/mlc_llm/model has neither OPT, GPT-neo nor BLOOM
    recipes = mlc.RECIPES
    customary = {32.0: "q0f32", 16.0: "q0f16", 4.0: "q4f16_1", 3.0: "q3f16_1"}
    cache_types = ("F16", "F32")

    def fixed_cache_type(self, format_name: str) -> str | None:
        """Return the float type of the build, in which it keeps its cache too."""
        return "F32" if "f32" in format_name else "F16"

    def download_bytes(self, *, in_browser: bool) -> int | None:
        """Return the bytes of the library and of a model's kernels, not compressed."""
        return _LIBRARY_BYTES + _KERNELS_BYTES

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Return the bytes of the parameter shards; the compiled library is a separate file."""
        return FileBytes(tensor_bytes=sum_bytes(stored), padding_bytes=0, directory_bytes=0)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Return bytes of the page: weights, cache, temporary buffers and logits of a whole chunk."""
        float_bytes = 4 if workload.cache_type == "F32" else 2
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=sum_bytes(stored),
            kv_cache_bytes=cache_bytes(architecture, workload),
            compute_bytes=buffer_bytes(architecture, float_bytes),
            output_bytes=logits_bytes(architecture, workload.batch_size),
            overhead_bytes=0,
        )

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return the notes on what a build reserves and on buffer limits."""
        chunk = f"buffers are reserved for chunks of {CHUNK_TOKENS:,} tokens"
        if holds_chunk_logits(architecture):
            logits = format_bytes_binary(logits_bytes(architecture, 1))
            chunk += f", and {logits} for the logits of all tokens of a chunk"
        recurrent = (
            "WebLLM's list states more for such a model: it counts a cache in every layer, which the engine "
            "keeps in attention layers alone (mlc-llm, create_paged_kv_cache); buffers of recurrent layers "
            "are not counted here",
        )
        return (
            *(recurrent if architecture.recurrent else ()),
            f"{chunk}; the cache has the build's own type, {self.fixed_cache_type(format_name)}",
            *buffer_notes(self.store(architecture, format_name)),
            *sharing_note(architecture, self.name),
        )


def holds_chunk_logits(architecture: Architecture) -> bool:
    """Return True if memory is reserved for the logits of every token of a chunk.

    Phi-3's definition has a symbolic head and a table of fixed size: the logits count where they are tied.
    A shape that comes from no family is built as the one that has its tensors: Qwen's biases or norms.
    """
    a = architecture
    if a.model_type == "phi3":
        return a.tie_embeddings
    if a.model_type is not None:
        return a.model_type in _FIXED_VOCABULARY
    return a.norm is NormKind.RMSNORM and a.mlp.gated and (a.qk_norm or a.qkv_bias)


def logits_bytes(architecture: Architecture, batch_size: int) -> int:
    """Return the bytes of 32-bit logits: of a whole chunk, or of the last token of each sequence."""
    rows = CHUNK_TOKENS if holds_chunk_logits(architecture) else batch_size
    return _LOGIT_BYTES * rows * architecture.vocab_size


def buffer_bytes(architecture: Architecture, float_bytes: int) -> int:
    """Return the bytes of temporary buffers that a build reserves for a chunk.

    Four FFN rows and one of the residual stream for each token; one of each more where a norm is fused with
    the addition before it, as its two results live at once. Exact for the stated memory of Llama's builds.
    """
    a = architecture
    per_token = 4 * a.intermediate_size + a.hidden_size
    if (
        float_bytes == 2
        and a.norm is NormKind.RMSNORM
        and a.block_norms is BlockNorms.PRE
        and a.hidden_size % _NORM_THREADS == 0
    ):
        per_token += a.intermediate_size + a.hidden_size
    return CHUNK_TOKENS * per_token * float_bytes
