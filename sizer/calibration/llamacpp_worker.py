"""Worker script that loads one GGUF file in llama.cpp (xllamacpp) and times it: JSON in, JSON out.

Run by path with one JSON argument (see `main`), so that a crash of the runtime ends this process only.
Times are those of llama.cpp's server: the prompt until its first token, then each token.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

# run by path, from anywhere
sys.path.append(str(Path(__file__).resolve().parents[2]))

from sizer.calibration.process_memory import resident_bytes

_ERRORS_ONLY = 1  # llama.cpp's log level (common/log.h)
# prompts cycle through bytes of a bench model's vocabulary; a model of bytes alone has these numbers too
_FIRST_TOKEN, _TOKENS = 3, 253


def start(request: dict[str, Any]) -> tuple[Any, float]:
    """Load a model; return the server and the load seconds. CPU only, one sequence, mapped weights."""
    runtime = import_module("xllamacpp")
    params = runtime.CommonParams()
    params.verbosity = _ERRORS_ONLY
    params.model.path = request["model"]
    params.n_ctx = request["context_tokens"]
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.no_op_offload = True
    params.fit_params = False  # else the model is loaded twice, once to see whether it fits
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = request["threads"]
    begin = time.perf_counter()
    server = runtime.Server(params)
    return server, time.perf_counter() - begin


def run_prompt(server: Any, prompt_tokens: int, generated_tokens: int, number: int) -> tuple[float, float]:
    """Return the seconds to read a prompt up to its first token, and seconds per token after it."""
    prompt = [_FIRST_TOKEN + (number * 997 + n * 31) % _TOKENS for n in range(prompt_tokens)]
    answer = server.handle_completions(
        {
            "prompt": prompt,
            "n_predict": generated_tokens,
            "cache_prompt": False,
            "ignore_eos": True,
            "temperature": 0,
            "samplers": [],
        }
    )
    timings = answer["timings"]
    if timings["prompt_n"] != prompt_tokens or timings["predicted_n"] != generated_tokens:
        raise RuntimeError(f"asked for {prompt_tokens} and {generated_tokens} tokens, got {timings}")
    # generation is timed from the first token, which belongs to the prompt
    return timings["prompt_ms"] / 1e3, timings["predicted_ms"] / 1e3 / (generated_tokens - 1)


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Measure load seconds, prefill and decode seconds per token of each repeat, memory before and after."""
    import_module("xllamacpp")  # the memory of its code is not the model's
    before = resident_bytes()
    server, load_s = start(request)
    prompt, generate = request["prompt_tokens"], request["generated_tokens"]
    run_prompt(server, prompt, 2, 0)  # the first run touches the pages of file and buffers
    timed = [run_prompt(server, prompt, generate, n + 1) for n in range(request["repeats"])]
    return {
        "load_s": load_s,
        "prefill_s": [prefill for prefill, _ in timed],
        "decode_s": [decode for _, decode in timed],
        "memory_before": before,
        "memory_after": resident_bytes(),
    }


def main(arguments: list[str]) -> int:
    """Run one JSON request {model, threads, context_tokens, prompt_tokens, generated_tokens, repeats}."""
    print(json.dumps(measure(json.loads(arguments[0]))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
