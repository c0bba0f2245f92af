"""`sizer estimate`: models that a runtime cannot run, the largest context, and limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OPT = {
    "model_type": "opt",
    "hidden_size": 64,
    "ffn_dim": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
# table, positions, two blocks (four biased projections, FFN with biases, two norms), final norm
OPT_COUNT = 50272 * 64 + 2050 * 64 + 2 * (4 * (64**2 + 64) + 2 * 64 * 256 + 256 + 64 + 4 * 64) + 2 * 64


def test_a_runtime_that_was_asked_for_and_cannot_run_a_model(sizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(OPT), encoding="utf-8")
    ran = sizer("estimate", str(path), "--runtime", "llama.cpp")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 1
    assert f"{OPT_COUNT:,} parameters" in ran.err
    assert "runtimes that do: transformers" in ran.err
    ran = sizer("estimate", str(path), "--runtime", "llama.cpp", "--json", "--advice")
    assert ran.code == 1
    assert ran.json["parameters"]["total"] == OPT_COUNT
    assert ran.json["weights"] is None
    page = tmp_path / "page.html"
    assert sizer("estimate", str(path), "--runtime", "llama.cpp", "--html", str(page)).code == 1
    assert "runtimes that do: transformers" in page.read_text(encoding="utf-8")


def test_without_a_runtime_a_model_runs_where_it_can(sizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(OPT), encoding="utf-8")
    ran = sizer("estimate", str(path))
    assert ran.code == 0
    assert ran.err.startswith("note: llama.cpp runs no model of this kind")
    assert "File, nf4 for transformers" in ran.out
    ran = sizer("compare", "SmolLM2-135M", str(path), "--device", "raspberry-pi-5")
    assert ran.code == 1
    assert "cannot run" in ran.out
    assert "runtimes that do: transformers" in " ".join(ran.out.split())


def test_a_batch_line_of_a_model_that_cannot_run_is_an_answer(sizer: Any, tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text(json.dumps({"config": OPT, "runtime": "llama.cpp"}) + "\n", encoding="utf-8")
    ran = sizer("estimate", "--batch", str(lines))
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["parameters"]["total"] == OPT_COUNT
    assert set(ran.json["unsupported"]) == {"weights", "memory"}


def test_the_largest_context_alone(sizer: Any) -> None:
    ran = sizer("estimate", "SmolLM2-1.7B", "--max-memory", "2GB", "--max-context")
    assert ran.code == 0
    assert ran.err == ""
    found = int(ran.out)
    document = sizer("estimate", "SmolLM2-1.7B", "--max-memory", "2GB", "--json").json["memory"]
    assert (document["max_context"], document["max_context_limited_by"]) == (found, "memory")
    table = sizer("estimate", "SmolLM2-1.7B", "--max-memory", "2GB").out
    assert f"largest context                         {found:,}  tokens that fit" in table
    assert sizer("estimate", "SmolLM2-1.7B", "--max-memory", "2GB", "--context", str(found)).code == 0
    assert sizer("estimate", "SmolLM2-1.7B", "--max-memory", "2GB", "--context", str(found + 1)).code == 1


def test_the_largest_context_where_none_fits_or_no_limit_is_known(sizer: Any) -> None:
    ran = sizer("estimate", "SmolLM2-1.7B", "--max-memory", "100MB", "--max-context")
    assert (ran.code, ran.out) == (1, "0\n")
    ran = sizer("estimate", "SmolLM2-1.7B", "--max-context")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: max_context: no memory limit is known")


def test_a_speed_that_is_not_reached_exits_with_one(sizer: Any) -> None:
    ran = sizer("estimate", "SmolLM2-1.7B", "--device", "raspberry-pi-5", "--min-decode", "1000")
    assert ran.code == 1
    assert ran.err.startswith("note: decode ")
    assert sizer("estimate", "SmolLM2-135M", "--device", "raspberry-pi-5", "--min-decode", "1").code == 0
