"""What ExecuTorch makes of small decoders: file bytes by part, planned and held memory, tokens/s.

    pip install torch==2.13.0 executorch==1.5.1 torchao==0.18.0
    python benchmarks/oracles/executorch.py FOLDER tests/sizer/data/oracle_executorch.jsonl

Models of random weights go through ExecuTorch's own export for Llama (`examples/models/llama`) with its usual
options: XNNPACK, KV cache, the custom attention operator. Each file is then loaded and run in a new process.
Rows already in the output are kept. About 40 minutes on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

TINY = {"dim": 256, "hidden_dim": 640, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 64}
TINY |= {"vocab_size": 1000, "context": 128, "prompt": 128}
NARROW = TINY | {"dim": 320, "n_heads": 5, "n_kv_heads": 1, "context": 512, "prompt": 300}
SMALL = TINY | {"dim": 512, "hidden_dim": 1536, "n_layers": 2, "n_heads": 8, "n_kv_heads": 4}
SMALL |= {"vocab_size": 8192, "context": 1024, "prompt": 512}
SMOLLM = TINY | {"dim": 576, "hidden_dim": 1536, "n_layers": 30, "n_heads": 9, "n_kv_heads": 3}
SMOLLM |= {"vocab_size": 49152, "context": 2048, "prompt": 512}

HALVES = {"hf_rope": True}

FP32 = {"mode": None, "group": None, "embedding": None, "dtype": "fp32", "cache": "F32"}
G32 = FP32 | {"mode": "8da4w", "group": 32, "embedding": "8,0"}
G64 = FP32 | {"mode": "8da4w", "group": 64, "embedding": "4,64"}
G128 = FP32 | {"mode": "8da4w", "group": 128, "embedding": "4,32"}
ROW = FP32 | {"mode": "8da4w", "group": 0, "embedding": "8,32"}
INT8 = FP32 | {"mode": "8da8w", "group": 0, "embedding": "8,0"}

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tiny fp32": (TINY, FP32),
    "tiny g32": (TINY, G32),
    "shared twice g32": (TINY | {"repeat": 2}, G32),
    "narrow g128": (NARROW, G128),
    "small shared twice g32": (SMALL | {"repeat": 2}, G32),
    "small g32": (SMALL, G32),
    "small fp32": (SMALL, FP32),
    "tied fp32": (TINY | {"tied": True, "n_layers": 1}, FP32),
    "one layer int8": (TINY | {"n_layers": 1, "n_kv_heads": 4}, INT8),
    "one layer row": (TINY | {"n_layers": 1, "vocab_size": 20011}, ROW),
    "one layer fp16": (TINY | {"n_layers": 1}, FP32 | {"dtype": "fp16"}),
    "small shared twice fp32": (SMALL | {"repeat": 2}, FP32),
    "five layers g32": (TINY | {"n_layers": 5}, G32),
    "aliased twice g32": (TINY | {"repeat": 2, "aliased": True, "n_layers": 1}, G32),
    "one layer qk norm g64": (TINY | {"qk_norm": True, "n_layers": 1}, G64),
    "small int8": (SMALL, INT8),
    "shared in order g32": (TINY | {"repeat": 2, "strategy": "repeat-all"}, G32),
    "tiny g128": (TINY, G128),
    "one layer bf16": (TINY | {"n_layers": 1}, FP32 | {"dtype": "bf16"}),
    "tiny g32, plain embedding": (TINY, G32 | {"embedding": None}),
    "one layer g32, int8 cache": (TINY | {"n_layers": 1}, G32 | {"cache": "Q8"}),
    "tied g32": (TINY | {"tied": True}, G32),
    "SmolLM2-135M g32": (SMOLLM | {"tied": True}, G32),
    # as its examples for Qwen 3 and Qwen 2.5: positions turn the halves of a head
    "qk norm g32": (TINY | HALVES | {"qk_norm": True}, G32),
    "qkv bias g32": (TINY | HALVES | {"qkv_bias": True}, G32),
    "qk norm fp32": (TINY | HALVES | {"qk_norm": True}, FP32),
    "qk norm small int8": (SMALL | HALVES | {"qk_norm": True, "head_dim": 128}, INT8),
    "qkv bias narrow int8": (NARROW | HALVES | {"qkv_bias": True}, INT8),
    "qk norm three layers g32": (SMALL | HALVES | {"qk_norm": True, "n_layers": 3}, G32),
    "qkv bias fp32": (TINY | HALVES | {"qkv_bias": True, "n_layers": 1}, FP32),
    "qk norm narrow g128": (NARROW | HALVES | {"qk_norm": True, "n_layers": 1}, G128),
}


def checkpoint(model: dict[str, Any]) -> dict[str, Any]:
    """Random weights, named as ExecuTorch's Llama does; shared blocks and tied tables are equal tensors."""
    import torch

    torch.manual_seed(0)
    d, hidden, head = model["dim"], model["hidden_dim"], model["head_dim"]
    q, kv = model["n_heads"] * head, model["n_kv_heads"] * head
    matrices = {"attention.wq": (q, d), "attention.wk": (kv, d), "attention.wv": (kv, d)}
    matrices |= {"attention.wo": (d, q), "feed_forward.w1": (hidden, d)}
    matrices |= {"feed_forward.w3": (hidden, d), "feed_forward.w2": (d, hidden)}
    norms = {"attention_norm": d, "ffn_norm": d}
    if model.get("qk_norm"):
        norms |= {"attention.q_norm_fn": head, "attention.k_norm_fn": head}
    biases = {"attention.wq": q, "attention.wk": kv, "attention.wv": kv} if model.get("qkv_bias") else {}
    weights = {"tok_embeddings.weight": 0.02 * torch.randn(model["vocab_size"], d)}
    blocks = [
        {f"{name}.weight": 0.02 * torch.randn(shape) for name, shape in matrices.items()}
        | {f"{name}.weight": 1 + 0.1 * torch.randn(width) for name, width in norms.items()}
        | {f"{name}.bias": 0.1 * torch.randn(width) for name, width in biases.items()}
        for _ in range(model["n_layers"])
    ]
    for layer, block in enumerate(order(model)):
        weights |= {f"layers.{layer}.{name}": value for name, value in blocks[block].items()}
    weights["norm.weight"] = 1 + 0.1 * torch.randn(d)
    tied = model.get("tied")
    weights["output.weight"] = (
        weights["tok_embeddings.weight"] if tied else 0.02 * torch.randn(model["vocab_size"], d)
    )
    return weights


def order(model: dict[str, Any]) -> list[int]:
    """The stored block that each executed layer runs."""
    blocks = range(model["n_layers"])
    repeat: int = model.get("repeat", 1)
    if model.get("strategy") == "repeat-all":
        return list(blocks) * repeat
    return [block for block in blocks for _ in range(repeat)]


def alias(transformer: Any, blocks: list[int]) -> Any:
    """Let every run of a block use the very same modules; only the caches stay apart."""
    first: dict[int, Any] = {}
    for layer, block in zip(transformer.layers, blocks, strict=True):
        source = first.setdefault(block, layer)
        if source is not layer:
            layer.feed_forward, layer.ffn_norm = source.feed_forward, source.ffn_norm
            layer.attention_norm = source.attention_norm
            for name in ("wq", "wk", "wv", "wo"):
                setattr(layer.attention, name, getattr(source.attention, name))
    return transformer


def export(folder: Path, model: dict[str, Any], recipe: dict[str, Any], target: Path) -> float:
    """Write the model's .pte as ExecuTorch's export for Llama does; seconds it took."""
    import torch
    from executorch.examples.models.llama import export_llama_lib
    from executorch.extension.llm.export.config import llm_config as options

    torch.set_num_threads(1)
    keys = ("dim", "hidden_dim", "n_heads", "n_kv_heads", "head_dim", "vocab_size")
    params = {key: model[key] for key in keys} | {"n_layers": len(order(model)), "norm_eps": 1e-5}
    if model.get("qk_norm"):
        params |= {"use_qk_norm": True, "qk_norm_before_rope": True}
    params |= {"use_hf_rope": bool(model.get("hf_rope")), "attention_qkv_bias": bool(model.get("qkv_bias"))}
    (folder / "params.json").write_text(json.dumps(params), encoding="utf-8")
    torch.save(checkpoint(model), folder / "weights.pth")
    config = options.LlmConfig()
    config.base.model_class = options.ModelType.llama2
    config.base.params = str(folder / "params.json")
    config.base.checkpoint = str(folder / "weights.pth")
    config.model.use_kv_cache = config.model.use_sdpa_with_kv_cache = True
    config.model.dtype_override = options.DtypeOverride(recipe["dtype"])
    config.model.quantize_kv_cache = recipe["cache"] == "Q8"
    config.export.max_seq_length, config.export.max_context_length = model["prompt"], model["context"]
    config.quantization.qmode = recipe["mode"]
    config.quantization.group_size = recipe["group"]
    config.quantization.embedding_quantize = recipe["embedding"]
    config.backend.xnnpack.enabled = config.backend.xnnpack.extended_ops = True
    config.export.output_name = str(target)
    transforms = export_llama_lib._get_source_transforms
    if model.get("aliased"):
        export_llama_lib._get_source_transforms = lambda *a, **k: [
            *transforms(*a, **k),
            lambda transformer: alias(transformer, order(model)),
        ]
    started = time.perf_counter()
    try:
        export_llama_lib.export_llama(config)
    finally:
        export_llama_lib._get_source_transforms = transforms
    return time.perf_counter() - started


def parts(path: Path) -> dict[str, Any]:
    """The file's bytes by part and what the method plans, read with ExecuTorch's own schema."""
    from executorch.exir._serialize import _program

    data = path.read_bytes()
    header = _program._get_extended_header(data)
    program = _program._flatbuffer_to_program(data[: header.program_size])
    named = {entry.segment_index: entry.key for entry in program.named_data}
    plan = next(plan for plan in program.execution_plan if plan.name == "forward")
    blobs = {delegate.processed.index for delegate in plan.delegates}
    tensors = [value.val for value in plan.values if type(value.val).__name__ == "Tensor"]
    constants = Counter(
        (str(list(t.sizes)), t.scalar_type.name, t.data_buffer_idx) for t in tensors if t.data_buffer_idx
    )
    sizes = [segment.size for segment in program.segments]
    return {
        "file_bytes": len(data),
        "program_bytes": header.program_size,
        "segment_base": header.segment_base_offset,
        "constant_bytes": sizes[program.constant_segment.segment_index],
        "constants": [list(key) for key in constants],
        "delegate_bytes": sum(sizes[i] for i in blobs),
        "delegate_blobs": len(blobs),
        "delegate_calls": len(plan.delegates),
        "matrix_bytes": sum(sizes[i] for i, key in named.items() if not key.startswith("scale_")),
        "matrices": sum(1 for key in named.values() if not key.startswith("scale_")),
        "scale_bytes": sum(sizes[i] for i, key in named.items() if key.startswith("scale_")),
        "segments": len(sizes),
        "instructions": len(plan.chains[0].instructions),
        "values": len(plan.values),
        "planned_bytes": list(plan.non_const_buffer_sizes),
    }


def held(path: Path) -> dict[str, int]:
    """Bytes of this process: anonymous, peak, and of the mapped file."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    mapped, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(path.name)
        elif inside and line.startswith("Rss:"):
            mapped += int(line.split()[1])
    kib = {"anonymous": int(status["RssAnon"].split()[0]), "peak": int(status["VmHWM"].split()[0])}
    kib |= {"resident": int(status["VmRSS"].split()[0]), "file": mapped}
    return {name: 1024 * value for name, value in kib.items()}


def run(path: Path, model: dict[str, Any]) -> dict[str, Any]:
    """Load and run a file in this (fresh) process: memory at each step, tokens/s of prompt and decoding."""
    import executorch.extension.llm.custom_ops.custom_ops
    import executorch.kernels.quantized  # noqa: F401 - registers the operators
    import torch
    from executorch.runtime import Runtime

    prompt = min(model["prompt"] - 1, model["context"] // 2, 256)
    steps = min(32, model["context"] - prompt)
    tokens = torch.randint(0, model["vocab_size"], (1, prompt))
    runtime = Runtime.get()
    found: dict[str, Any] = {"before": held(path)}
    method = runtime.load_program(path).load_method("forward")
    assert method is not None
    found["loaded"] = held(path)
    method.execute([tokens, torch.tensor([0])])
    found["prefilled"] = held(path)
    prefill, decode = [], []
    for _ in range(5):
        started = time.perf_counter()
        method.execute([tokens, torch.tensor([0])])
        prefill.append(prompt / (time.perf_counter() - started))
        started = time.perf_counter()
        for position in range(prompt, prompt + steps):
            method.execute([tokens[:, :1], torch.tensor([position])])
        decode.append(steps / (time.perf_counter() - started))
    found["decoded"] = held(path)
    found["prompt_tokens"] = prompt
    found["prefill_tokens_per_second"] = round(median(prefill), 2)
    found["decode_tokens_per_second"] = round(median(decode), 2)
    return found


def main(folder: Path, output: Path) -> None:
    """Export and run every row that the output does not hold yet."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
    done = {json.loads(line)["name"] for line in lines}
    names = ("executorch", "torchao", "torch")
    packages = {name: version(name) for name in names}
    for name, (model, recipe) in ROWS.items():
        if name in done:
            continue
        target = folder / (name.replace(" ", "_").replace(",", "") + ".pte")
        row: dict[str, Any] = {"name": name, "model": model, "recipe": recipe, "packages": packages}
        try:
            row["export_seconds"] = round(export(folder, model, recipe, target), 1)
        except (RuntimeError, ValueError, TypeError, AssertionError, KeyError, AttributeError) as error:
            row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
        else:
            row |= parts(target)
            command = [sys.executable, __file__, "--run", str(target), name]
            child = subprocess.run(command, capture_output=True, text=True, check=False)
            last = child.stdout.strip().splitlines()[-1:]
            if child.returncode == 0:
                row["run"] = json.loads(last[0])
            else:
                row["run_error"] = (child.stderr.strip().splitlines() or [str(child.returncode)])[-1][:300]
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "--run":
        print(json.dumps(run(Path(sys.argv[2]), ROWS[sys.argv[3]][0])))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
