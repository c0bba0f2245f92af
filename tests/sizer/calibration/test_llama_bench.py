"""llama-bench's files: real output is read, every way to break one is a single clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sizer.calibration.llama_bench import read_llama_bench
from sizer.errors import InvalidFile
from sizer.formats.llamacpp import mix
from sizer.registry import model
from sizer.tensors import count_parameters, tensor_specs

# Printed by llama-bench (llama.cpp as in llama-cpp-python 0.3.36) for files of sizer export-bench-models and
# a SmolLM2-135M with random weights; whole lines.
REAL = Path(__file__).parent / "data" / "llama_bench.jsonl"


def entries() -> list[dict[str, Any]]:
    return [json.loads(line) for line in REAL.read_text(encoding="utf-8").splitlines()]


def write(path: Path, found: list[dict[str, Any]], *, lines: bool = True) -> Path:
    text = "\n".join(map(json.dumps, found)) if lines else json.dumps(found, indent=2)
    path.write_text(text, encoding="utf-8")
    return path


def run(**changed: Any) -> dict[str, Any]:
    """A generation run, as llama-bench prints it, with some fields changed."""
    found = next(
        e for e in entries() if e["n_gen"] and e["model_filename"].endswith("sizer-bench-deep-Q8_0.gguf")
    )
    return {**found, **changed}


def test_real_output_is_read() -> None:
    found = read_llama_bench(REAL)
    assert (found.backend, found.build, found.unknown, found.similar) == ("cpu", "0c1e570", (), ())
    assert found.setup == "2 threads, flash attention auto"
    assert found.date == entries()[0]["test_time"][:10]
    assert len(found.samples) == len(entries())
    by_name = {(s.model.name, s.decode_s is None): s for s in found.samples}
    for entry in entries():
        sample = by_name[entry["model_filename"].rsplit("/", 1)[-1], entry["n_gen"] == 0]
        seconds = sample.decode_s * entry["n_gen"] if sample.decode_s else sample.prefill_s
        assert seconds is not None
        # ours is the median of the repeats, avg_ns their mean
        assert seconds * 1e9 == pytest.approx(sorted(entry["samples_ns"])[len(entry["samples_ns"]) // 2])


def test_bytes_and_weights_agree_with_what_llama_cpp_counted() -> None:
    """model_size and model_n_params are llama.cpp's own sums over the file it loaded."""
    for sample, entry in zip(read_llama_bench(REAL).samples, entries(), strict=True):
        costs = sample.model.costs
        assert costs.step_bytes == entry["model_size"]
        # tied: the table is the head; the last norm is of neither
        assert 0 <= entry["model_n_params"] - costs.block_weights - costs.head_weights <= 2048


def test_json_and_jsonl_and_loops_of_either_are_one(tmp_path: Path) -> None:
    expected = read_llama_bench(REAL)
    listed = write(tmp_path / "a.json", entries(), lines=False)
    assert read_llama_bench(listed) == expected
    loop = tmp_path / "b.json"
    loop.write_text("\n".join(json.dumps([e], indent=1) for e in entries()), encoding="utf-8")
    assert read_llama_bench(loop) == expected
    for encoding in ("utf-16", "utf-8-sig"):  # PowerShell's redirections
        wide = tmp_path / encoding
        wide.write_text(REAL.read_text(encoding="utf-8"), encoding=encoding)
        assert read_llama_bench(wide) == expected


@pytest.mark.parametrize("share", [0.15, 0.55, 0.999])
@pytest.mark.parametrize("lines", [True, False])
def test_a_file_that_was_cut_off_is_one_line(share: float, lines: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "cut.json", entries(), lines=lines)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InvalidFile, match=r"cut\.json is not complete JSON from line \d+ on: it was cut off"):
        read_llama_bench(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("[]", "holds no runs of llama-bench"),
        ("[1, 2]", "holds no runs of llama-bench"),
        ('"llama"', "holds no runs of llama-bench"),
        ("| model | size |", "holds no runs of llama-bench"),
        ("{}", "holds no runs of llama-bench"),
        ('{"n_gen": 1}', "run 1: has no model_filename"),
        ("[" * 100_000, "holds no runs of llama-bench"),
        ('{"a": ' * 100_000, "is not complete JSON"),
        ("\x00\x01\x02", "holds no runs of llama-bench"),
    ],
)
def test_nonsense_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFile, match="from-llama-bench") as caught:
        read_llama_bench(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "accepted:" in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_filename", 7),
        ("model_size", -1),
        ("model_size", "big"),
        ("model_n_params", None),
        ("n_gen", 1.5),
        ("n_gen", True),
        ("n_threads", 0),
        ("n_threads", 10**400),
        ("samples_ns", [0]),
        ("samples_ns", [float("nan")]),
        ("samples_ns", [float("inf")]),
        ("samples_ns", ["fast"]),
        ("type_k", "q9_9"),
        ("type_v", "q9_9"),
        ("flash_attn", 7),
        ("flash_attn", "maybe"),
        ("n_gpu_layers", "many"),
        ("n_depth", -1),
        ("samples_ns", [1e18]),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", [run(), run(**{field: value})])
    with pytest.raises(InvalidFile, match=f"run 2: {field} must be"):
        read_llama_bench(path)


def test_without_the_repeats_the_mean_counts(tmp_path: Path) -> None:
    entry = run(avg_ns=64_000_000, n_gen=32)
    del entry["avg_ts"]
    del entry["samples_ns"]
    (sample,) = read_llama_bench(write(tmp_path / "r.json", [entry])).samples
    assert sample.decode_s == pytest.approx(0.002)
    del entry["avg_ns"]
    with pytest.raises(InvalidFile, match="run 1: has no avg_ns"):
        read_llama_bench(write(tmp_path / "r.json", [entry]))


def test_depth_is_where_the_middle_of_the_answer_is(tmp_path: Path) -> None:
    (sample,) = read_llama_bench(write(tmp_path / "r.json", [run(n_depth=1000, n_gen=32)])).samples
    assert sample.depth_tokens == 1016


def test_prompt_and_answer_in_one_run_are_left_out(tmp_path: Path) -> None:
    found = read_llama_bench(write(tmp_path / "r.json", [run(), run(n_prompt=128)]))
    assert len(found.samples) == 1


def test_a_bench_file_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="is not the one that `sizer export-bench-models` writes"):
        read_llama_bench(write(tmp_path / "r.json", [run(model_size=1000)]))


def catalogue_run(name: str, format_name: str, file_name: str, **changed: Any) -> dict[str, Any]:
    architecture = model(name).architecture
    specs = tensor_specs(architecture)
    return run(
        model_filename=file_name,
        model_n_params=count_parameters(specs).total,
        model_size=sum(t.num_bytes for t in mix(format_name).assign(architecture, specs)),
        **changed,
    )


@pytest.mark.parametrize(
    ("name", "format_name", "file_name"),
    [
        ("SmolLM2-135M", "Q4_K_M", "SmolLM2-135M-Instruct-Q4_K_M.gguf"),
        ("SmolLM2-135M", "Q8_0", "anything.gguf"),
        ("TinyLlama-1.1B", "Q4_0", "tinyllama.Q4_0.gguf"),
        ("TinyLlama-1.1B", "IQ4_NL", "tinyllama.IQ4_NL.gguf"),  # of the same size as Q4_0
    ],
)
def test_known_models_are_found_by_their_counts(
    name: str, format_name: str, file_name: str, tmp_path: Path
) -> None:
    entry = catalogue_run(name, format_name, file_name)
    (sample,) = read_llama_bench(write(tmp_path / "r.json", [entry])).samples
    architecture = model(name).architecture
    expected = mix(format_name).assign(architecture, tensor_specs(architecture))
    assert set(sample.model.step_bytes) == {t.type.name for t in expected}
    assert sample.model.costs.executed_layers == architecture.num_layers


def test_an_unknown_mixture_of_experts_is_left_out_and_named(tmp_path: Path) -> None:
    """How many of its bytes a step reads is not in the file."""
    odd = run(model_filename="mystery-8x1B.gguf", model_n_params=123_456_789, model_size=70_000_000)
    found = read_llama_bench(write(tmp_path / "r.json", [run(), odd]))
    assert (len(found.samples), found.unknown) == (1, ("mystery-8x1B.gguf",))
    with pytest.raises(InvalidFile, match=r"not known: mystery-8x1B\.gguf; accepted: models of"):
        read_llama_bench(write(tmp_path / "r.json", [odd]))


def test_prefill_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"has only prompts \(pp128\); accepted: runs with -n 128, too"):
        read_llama_bench(write(tmp_path / "r.json", [run(n_gen=0, n_prompt=128)]))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"from-llama-bench: cannot read .*: No such file"):
        read_llama_bench(tmp_path / "none.json")
    with pytest.raises(InvalidFile, match="it is a directory"):
        read_llama_bench(tmp_path)
