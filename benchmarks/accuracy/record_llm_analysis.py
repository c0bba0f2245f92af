"""Write tests/benchmarks/accuracy/llm_analysis.csv: the answers of llm-analysis for every catalogue model.

It asks for transformers below 5, which this project does not run with. In an environment that has this
project's packages: `pip install --no-deps llm-analysis==0.2.2 fire termcolor`.
"""

from __future__ import annotations

import csv
import json
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.accuracy.other_calculators import LLM_ANALYSIS_BITS, transformers_config
from sizer.registry import models

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "tests" / "benchmarks" / "accuracy" / "llm_analysis.csv"
KV_TOKENS = 2048


def rows() -> list[dict[str, object]]:
    """Parameters, bytes by weight bits and bytes of an F16 cache of 2048 tokens, by model."""
    from llm_analysis.analysis import LLMAnalysis
    from llm_analysis.config import (
        get_dtype_config_by_name,
        get_gpu_config_by_name,
        get_model_config_from_hf,
        populate_model_and_gpu_configs,
    )

    logging.disable(logging.INFO)
    populate_model_and_gpu_configs()
    gpu = get_gpu_config_by_name("a100-sxm-80gb")
    found: list[dict[str, object]] = []
    for name, row in models().items():
        config = transformers_config(row.config)
        if config is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
            theirs = get_model_config_from_hf(folder)
        answer: dict[str, object] = {"model": name}
        for bits in LLM_ANALYSIS_BITS:
            analysis = LLMAnalysis(theirs, gpu, get_dtype_config_by_name(f"w{bits}a16e16"))
            answer["parameters"] = analysis.get_num_params_total()
            # the sum that `inference` makes of one GPU
            answer[f"bytes_{bits}"] = (
                analysis.get_weight_memory_per_layer() * theirs.num_layers
                + analysis.get_memory_embedding()
                + analysis.get_weight_memory_last_layernorm()
            )
            answer["kv_bytes"] = analysis.get_memory_kv_cache_per_layer(1, KV_TOKENS) * theirs.num_layers
        found.append(answer)
    return found


if __name__ == "__main__":
    table = rows()
    with TARGET.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(f"{len(table)} models -> {TARGET.relative_to(ROOT)}")
