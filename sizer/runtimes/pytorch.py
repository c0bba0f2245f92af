"""Hugging Face transformers on PyTorch: safetensors, bitsandbytes, GPTQ, AWQ, FP8, torchao, HQQ and AQLM."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.formats import aqlm, bitsandbytes, gptq, hqq, mxfp4, safetensors, served, torchao
from sizer.formats.groups import Plain
from sizer.formats.recipe import PLAIN, by_name
from sizer.formats.stored import FileBytes, StoredTensor, stored_groups, sum_bytes
from sizer.memory import MemoryBreakdown
from sizer.runtimes.recipes import (
    RecipeRuntime,
    block_activation_bytes,
    cache_bytes,
    sharing_note,
    sliding_runs,
)
from sizer.tensors import Access
from sizer.workload import Workload

_FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


class Transformers(RecipeRuntime):
    """`generate` of transformers with PyTorch's fused attention."""

    name = "transformers"
    backends = ("cuda", "rocm", "metal", "cpu")
    recipes = {
        **bitsandbytes.RECIPES,
        **gptq.RECIPES,
        **torchao.RECIPES,
        **hqq.RECIPES,
        **aqlm.RECIPES,
        **mxfp4.RECIPES,
        **served.RECIPES,
        **by_name(PLAIN),
    }
    customary = {
        32.0: "fp32",
        16.0: "bf16",
        8.0: "llm.int8",
        4.0: "nf4",
        3.0: "gptq-3bit-g128",
        2.0: "gptq-2bit-g128",
    }
    cache_types = ("BF16", "F16", "F32")

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Bytes of model.safetensors; of torchao's formats, which are not written so, the tensors alone."""
        if all(hasattr(tensor.type, "parts") for tensor, _ in stored_groups(stored)):
            return safetensors.file_bytes(stored, "pt")
        return FileBytes(tensor_bytes=sum_bytes(stored), padding_bytes=0, directory_bytes=0)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Return bytes of tensors held: weights, cache, a block over the whole prompt, last logits.

        A quantized matrix is turned back into floats to multiply a prompt with it: the largest one counts.
        """
        float_bytes = _FLOAT_BYTES[workload.cache_type]
        tokens = workload.batch_size * workload.prompt_tokens
        dequantized = [
            2 * tensor.spec.num_elements
            for tensor, _ in stored_groups(stored)
            if tensor.spec.access is Access.MATMUL and not isinstance(tensor.type, Plain)
        ]
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=sum_bytes(stored),
            # convolutions keep as many inputs as their kernel is long (cache_utils.py, LinearAttentionLayer)
            kv_cache_bytes=cache_bytes(
                architecture,
                workload,
                windowed_layers=self.windowed_layers(architecture),
                whole_kernel=True,
            ),
            compute_bytes=block_activation_bytes(architecture, tokens, float_bytes)
            + max(dequantized, default=0),
            output_bytes=workload.batch_size * architecture.vocab_size * (float_bytes + 4),
            overhead_bytes=0,
        )

    def windowed_layers(self, architecture: Architecture) -> int:
        """Return the runs of sliding layers: DynamicCache has a DynamicSlidingWindowLayer for each.

        transformers 5.23, cache_utils.py: its arrays are as long as the window once it is full.
        """
        return sliding_runs(architecture)

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return the notes on what was modelled."""
        return (
            "memory is that of PyTorch's tensors; Python, PyTorch and a GPU's context come on top "
            "(some hundred MB)",
            "the compute part is an estimate from shapes",
            *sharing_note(architecture, self.name),
        )
