"""What other tools write: bytes of the same weights under MLX, bitsandbytes, ONNX Runtime and torchao.

One JSON object a line on stdout, kept in tests/sizer/data/oracle_formats.jsonl. Needs an environment:

    pip install "mlx[cpu]" mlx-lm bitsandbytes onnx onnx_ir onnxruntime torchao==0.18.0 torch==2.13.0
    python benchmarks/oracles/formats.py > tests/sizer/data/oracle_formats.jsonl
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

_CONFIGS: tuple[dict[str, Any], ...] = (
    {"hidden_size": 192, "intermediate_size": 512, "num_attention_heads": 3, "num_key_value_heads": 1},
    {"hidden_size": 256, "intermediate_size": 688, "num_attention_heads": 4, "num_key_value_heads": 2},
    {"hidden_size": 320, "intermediate_size": 864, "num_attention_heads": 5, "num_key_value_heads": 5},
)
_SHAPES = ((96, 256), (64, 200), (320, 576), (7, 1000))


def mlx_rows() -> Iterator[dict[str, Any]]:
    """Files that mlx-lm writes of small random Llamas."""
    import mlx.core as mx
    from mlx_lm.models import llama
    from mlx_lm.utils import quantize_model, save_model

    affine = [("affine", bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
    floats = [("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)]
    for number, config in enumerate(_CONFIGS):
        for mode, bits, group in affine + floats:
            shape = {
                "model_type": "llama",
                "vocab_size": 512,
                "num_hidden_layers": 2 + number,
                "tie_word_embeddings": number != 1,
                **config,
            }
            model = llama.Model(llama.ModelArgs(rms_norm_eps=1e-5, **shape))
            model.set_dtype(mx.bfloat16)
            model, _ = quantize_model(model, {}, group, bits, mode=mode)
            with tempfile.TemporaryDirectory() as folder:
                save_model(folder, model)
                data = (Path(folder) / "model.safetensors").read_bytes()
            header = int.from_bytes(data[:8], "little")
            name = mode if mode != "affine" else f"{bits}bit" + ("" if group == 64 else f"-g{group}")
            yield {
                "tool": f"mlx-lm {version('mlx-lm')}",
                "format": name,
                "config": shape,
                "tensor_bytes": len(data) - header - 8,
                "file_bytes": len(data),
            }


def bitsandbytes_rows() -> Iterator[dict[str, Any]]:
    """Arrays of one matrix: NF4 and FP4 with and without double quantization, LLM.int8."""
    import torch
    from bitsandbytes.functional import int8_vectorwise_quant, quantize_4bit
    from bitsandbytes.nn import Linear8bitLt

    tool = f"bitsandbytes {version('bitsandbytes')}"
    for shape in _SHAPES:
        weight = torch.randn(shape).bfloat16()
        for name, kind, nested in (("nf4", "nf4", False), ("nf4-dq", "nf4", True), ("fp4", "fp4", False)):
            packed, state = quantize_4bit(weight, quant_type=kind, compress_statistics=nested)
            parts = [packed, *state.as_dict(packed=True).values()]
            size = sum(part.numel() * part.element_size() for part in parts)
            yield {"tool": tool, "format": name, "shape": shape, "tensor_bytes": size}
        # its first forward pass quantizes, on a GPU; here the same function is called by hand
        layer = Linear8bitLt(shape[1], shape[0], bias=False, has_fp16_weights=False)
        layer.weight.data, layer.weight.SCB, _ = int8_vectorwise_quant(weight.half())
        size = sum(part.numel() * part.element_size() for part in layer.state_dict().values())
        yield {"tool": tool, "format": "llm.int8", "shape": shape, "tensor_bytes": size}


def onnx_rows() -> Iterator[dict[str, Any]]:
    """Initializers of one MatMul after onnxruntime's quantizer."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    for name, bits, floats, kind in (
        ("q4", 4, np.float32, TensorProto.FLOAT),
        ("q4f16", 4, np.float16, TensorProto.FLOAT16),
        ("q8f16", 8, np.float16, TensorProto.FLOAT16),
    ):
        for shape in _SHAPES:
            weight = numpy_helper.from_array(np.random.randn(*reversed(shape)).astype(floats), "w")
            graph = helper.make_graph(
                [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")],
                "g",
                [helper.make_tensor_value_info("x", kind, [None, shape[1]])],
                [helper.make_tensor_value_info("y", kind, [None, shape[0]])],
                [weight],
            )
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
            quantizer = MatMulNBitsQuantizer(model, bits=bits, block_size=32, is_symmetric=True)
            quantizer.process()
            arrays = [numpy_helper.to_array(i) for i in quantizer.model.model.graph.initializer]
            tool = f"onnxruntime {version('onnxruntime')}"
            size = sum(a.nbytes for a in arrays)
            yield {"tool": tool, "format": name, "shape": shape, "tensor_bytes": size}


def torchao_rows() -> Iterator[dict[str, Any]]:
    """Inner tensors of one linear layer under Int8WeightOnlyConfig (int4 needs a GPU)."""
    import torch
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    for rows, columns in _SHAPES:
        model = torch.nn.Sequential(torch.nn.Linear(columns, rows, bias=False)).bfloat16()
        quantize_(model, Int8WeightOnlyConfig())
        weight: Any = model[0].weight
        arrays = [getattr(weight, name) for name in weight.__tensor_flatten__()[0]]
        size = sum(a.numel() * a.element_size() for a in arrays)
        tool = f"torchao {version('torchao')}"
        yield {"tool": tool, "format": "torchao-int8", "shape": (rows, columns), "tensor_bytes": size}


def main() -> None:
    """Print all rows."""
    for rows in (mlx_rows, bitsandbytes_rows, onnx_rows, torchao_rows):
        for row in rows():
            sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
