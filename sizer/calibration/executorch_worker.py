"""Worker script that exports a Llama to ExecuTorch, and times or scores such a file.

Run by path with one JSON argument (see `main`), so that a crash of the runtime ends this process only. The
export is ExecuTorch's own (examples/models/llama of 1.5.1: XNNPACK, KV cache, custom attention operator).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

# run by path, from anywhere
sys.path.append(str(Path(__file__).resolve().parents[2]))

from sizer.calibration.process_memory import resident_bytes

_WEIGHT_SIZE = 0.02
_WARM_UP_TOKENS = 4
_TOKENS = 256  # every vocabulary has them
# Registers the operators of the exported graphs: attention with its cache, and embeddings of 8 bits.
_OPERATORS = ("executorch.extension.llm.custom_ops.custom_ops", "executorch.kernels.quantized")


def checkpoint(torch: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return random weights named as in ExecuTorch's Llama, all different: equal ones are stored once."""
    width, hidden = params["dim"], params["hidden_dim"]
    query, key = (params[heads] * params["head_dim"] for heads in ("n_heads", "n_kv_heads"))
    table = (params["vocab_size"], width)
    block = {
        "attention.wq": (query, width),
        "attention.wk": (key, width),
        "attention.wv": (key, width),
        "attention.wo": (width, query),
        "feed_forward.w1": (hidden, width),
        "feed_forward.w2": (width, hidden),
        "feed_forward.w3": (hidden, width),
        "attention_norm": (width,),
        "ffn_norm": (width,),
    }
    shapes = {"tok_embeddings": table, "norm": (width,), "output": table}
    for layer in range(params["n_layers"]):
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in block.items()}
    torch.manual_seed(0)
    return {
        f"{name}.weight": torch.empty(shape).uniform_(-_WEIGHT_SIZE, _WEIGHT_SIZE) + (len(shape) == 1)
        for name, shape in shapes.items()
    }


def export(request: dict[str, Any]) -> dict[str, Any]:
    """Write the .pte file and return its bytes; temporary files next to it hold shape and random weights."""
    torch = import_module("torch")
    export_llama_lib = import_module("executorch.examples.models.llama.export_llama_lib")
    options = import_module("executorch.extension.llm.export.config.llm_config")
    torch.set_num_threads(1)  # other exports run in parallel
    target = Path(request["model"])
    # relative: a path with "int8" or "8da4w" would be treated as a quantized checkpoint
    os.chdir(target.parent)
    params, random = Path(f"params-{os.getpid()}.json"), Path(f"weights-{os.getpid()}.pth")
    weights = request.get("weights") or random
    try:
        params.write_text(json.dumps(request["params"]), encoding="utf-8")
        if weights is random:
            torch.save(checkpoint(torch, request["params"]), weights)
        config = options.LlmConfig()
        config.base.model_class = options.ModelType.llama2
        config.base.params, config.base.checkpoint = str(params), str(weights)
        config.model.use_kv_cache = config.model.use_sdpa_with_kv_cache = True
        config.model.dtype_override = options.DtypeOverride.fp32
        config.export.max_seq_length = request["chunk_tokens"]
        config.export.max_context_length = request["context_tokens"]
        config.export.output_name = str(target)
        config.quantization.qmode = request["qmode"]
        config.quantization.group_size = request["group_size"]
        config.quantization.embedding_quantize = request["embedding_quantize"]
        config.backend.xnnpack.enabled = config.backend.xnnpack.extended_ops = True
        export_llama_lib.export_llama(config)
    finally:
        params.unlink(missing_ok=True)
        random.unlink(missing_ok=True)
    return {"file_bytes": target.stat().st_size}


def loaded_runtime(threads: int) -> Any:
    """Return ExecuTorch's runtime with the operators of exported Llamas and that many threads."""
    for name in _OPERATORS:
        import_module(name)
    runtime = import_module("executorch.runtime").Runtime.get()
    # the default is the library's count of fast cores
    import_module("executorch.extension.pybindings.portable_lib")._unsafe_reset_threadpool(threads)
    return runtime


def score(request: dict[str, Any]) -> dict[str, Any]:
    """Return, for each window of tokens, the natural logarithms of its tokens' probabilities from the second.

    Windows come in a file of JSON, as there are many. Token by token, as the file decodes.
    """
    torch, runtime = import_module("torch"), loaded_runtime(request["threads"])
    method = runtime.load_program(Path(request["model"])).load_method("forward")
    windows = json.loads(Path(request["windows"]).read_text(encoding="utf-8"))
    answers = []
    for window in windows:
        found = []
        for position, (token, following) in enumerate(zip(window, window[1:], strict=False)):
            (logits,) = method.execute([torch.tensor([[token]]), torch.tensor([position])])
            found.append(float(logits.reshape(-1).double().log_softmax(0)[following]))
        answers.append(found)
    return {"answers": answers}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Measure load seconds, prefill and decode seconds per token of each repeat, memory before and after."""
    torch, runtime = import_module("torch"), loaded_runtime(request["threads"])
    prompt_tokens, generated = request["prompt_tokens"], request["generated_tokens"]
    prompt = [torch.randint(0, _TOKENS, (1, prompt_tokens)), torch.tensor([0])]
    steps = [[prompt[0][:, :1], torch.tensor([prompt_tokens + n])] for n in range(generated)]

    def seconds(inputs: list[Any]) -> float:
        begin = time.perf_counter()
        method.execute(inputs)
        return time.perf_counter() - begin

    before = resident_bytes()
    begin = time.perf_counter()
    method = runtime.load_program(Path(request["model"])).load_method("forward")
    load_s = time.perf_counter() - begin
    # pages of the file and of the buffers are touched for the first time
    for inputs in (prompt, *steps[:_WARM_UP_TOKENS]):
        seconds(inputs)
    prefill_s, decode_s = [], []
    for _ in range(request["repeats"]):
        prefill_s.append(seconds(prompt))
        # a token takes less than a system's time slice: other programs disturb some, not most
        decode_s.append(median(map(seconds, steps)))
    return {
        "load_s": load_s,
        "prefill_s": prefill_s,
        "decode_s": decode_s,
        "memory_before": before,
        "memory_after": resident_bytes(),
    }


_ACTIONS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "export": export,
    "measure": measure,
    "score": score,
}


def main(arguments: list[str]) -> int:
    """Run one JSON request: {action: export, model, params, ...}, {action: measure or score, model, ...}."""
    request = json.loads(arguments[0])
    print(f"\n{json.dumps(_ACTIONS[request['action']](request))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
