"""Estimates per second and time to start, against llm-analysis: `benchmarks/speed/estimate.py [ROUNDS]`.

One estimate at a time, in seconds of the processor (the clock of a shared machine counts others' work), both
tools in turn; many shapes at once are benchmarks/speed/grid.py's. llm-analysis needs transformers below 5: in
an environment that has this project's packages, `pip install --no-deps llm-analysis==0.2.2 fire termcolor`.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sizer.architecture import Architecture
from sizer.devices.catalogue import device
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.workload import Workload

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("SmolLM2-135M", "Qwen2.5-0.5B", "Llama-3.2-1B")
INSTALL = "pip install --no-deps llm-analysis==0.2.2 fire termcolor"
PROMPT_TOKENS, GENERATED_TOKENS = 512, 32  # llm-analysis's own defaults
SECONDS_PER_ROUND = 0.5

Call = Callable[[Architecture], object]


def new_shapes(of: Sequence[Architecture]) -> list[Architecture]:
    """Shapes that no cache has seen: each model with 500 widths of its feed-forward block."""
    return [
        replace(a, intermediate_size=a.intermediate_size + 256 * step) for step in range(1, 501) for a in of
    ]


def per_second(call: Call, shapes: Sequence[Architecture]) -> float:
    """Calls in a second of the processor, taking the shapes in turn; new ones never twice."""
    done, start = 0, process_time()
    for shape in cycle(shapes) if len(shapes) == len(MODELS) else shapes:
        call(shape)
        done += 1
        if process_time() - start > SECONDS_PER_ROUND:
            break
    return done / (process_time() - start)


def ours(with_device: bool) -> Call:
    """An estimate of the same workload as llm-analysis's, with or without speed on a device."""
    where = device("raspberry-pi-5") if with_device else None
    load = Workload(
        prompt_tokens=PROMPT_TOKENS,
        generated_tokens=GENERATED_TOKENS,
        context_tokens=PROMPT_TOKENS + GENERATED_TOKENS,
    )
    return lambda a: estimate(architecture=a, format="Q4_K_M", workload=load, device=where)


def theirs() -> Call | None:
    """llm-analysis's `inference` of the same shapes, weights of 4 bits; None where it is not installed."""
    if importlib.util.find_spec("llm_analysis") is None:
        return None
    from llm_analysis.analysis import LLMAnalysis
    from llm_analysis.config import (
        ModelConfig,
        get_dtype_config_by_name,
        get_gpu_config_by_name,
        populate_model_and_gpu_configs,
    )

    logging.disable(logging.WARNING)
    populate_model_and_gpu_configs()
    gpu, dtype = get_gpu_config_by_name("a100-sxm-80gb"), get_dtype_config_by_name("w4a16e16")

    def call(a: Architecture) -> object:
        analysis = LLMAnalysis(ModelConfig(**their_config(a)), gpu, dtype)
        return analysis.inference(
            batch_size_per_gpu=1, seq_len=PROMPT_TOKENS, num_tokens_to_generate=GENERATED_TOKENS
        )

    return call


def their_config(a: Architecture) -> dict[str, Any]:
    """The fields of llm-analysis's model config."""
    return {
        "name": a.name,
        "num_layers": a.num_layers,
        "n_head": a.num_heads,
        "num_key_value_heads": a.num_kv_heads,
        "hidden_dim": a.hidden_size,
        "ffn_embed_dim": a.intermediate_size,
        "expansion_ratio": a.intermediate_size / a.hidden_size,
        "vocab_size": a.vocab_size,
        "max_seq_len": a.max_position_embeddings,
    }


def show_speeds(rounds: int) -> None:
    """Median, least and most estimates per second of each call, rounds of all alternating."""
    known = [model(name).architecture for name in MODELS]
    calls: dict[str, tuple[Call, bool]] = {
        "sizer, the same models again": (ours(False), False),
        "sizer, new shapes": (ours(False), True),
        "sizer, new shapes, speed on a device": (ours(True), True),
    }
    rival = theirs()
    if rival is None:
        print(f"llm-analysis is not installed here: {INSTALL}")
    else:
        calls["llm-analysis, the same models again"] = (rival, False)
        calls["llm-analysis, new shapes"] = (rival, True)
    found: dict[str, list[float]] = {name: [] for name in calls}
    fresh = 0
    for _ in range(rounds):
        for name, (call, new) in calls.items():
            fresh += new
            # every round's new shapes differ from those of all rounds before
            shapes = (
                [replace(a, max_position_embeddings=4096 + fresh) for a in new_shapes(known)]
                if new
                else known
            )
            found[name].append(per_second(call, shapes))
    print(f"estimates per processor second, {rounds} rounds of {SECONDS_PER_ROUND} s")
    for name, speeds in found.items():
        print(f"  {name:40} median {median(speeds):9,.0f}  min {min(speeds):9,.0f}  max {max(speeds):9,.0f}")


def show_starts(rounds: int) -> None:
    """Seconds from the command to its answer, in turn."""
    name = MODELS[0]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "model.json"
        config.write_text(json.dumps(their_config(model(name).architecture)), encoding="utf-8")
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            f"sizer estimate {name}": [sys.executable, "cli.py", "estimate", name],
        }
        if importlib.util.find_spec("llm_analysis") is not None:
            commands["llm-analysis infer, the same model"] = [
                *(sys.executable, "-m", "llm_analysis.analysis", "infer", f"--model_name={config}"),
                *("--gpu_name=a100-sxm-80gb", "--dtype_name=w4a16e16"),
            ]
        found: dict[str, list[float]] = {label: [] for label in commands}
        for _ in range(rounds + 1):
            for label, command in commands.items():
                start = perf_counter()
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
                found[label].append(perf_counter() - start)
    print(f"seconds to start and answer, {rounds} rounds after one that warms the disk")
    for label, seconds in found.items():
        print(f"  {label:40} median {median(seconds[1:]):9.3f}  min {min(seconds[1:]):9.3f}")


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    show_speeds(number)
    show_starts(number)
