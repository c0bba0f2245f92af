"""Writes docs/accuracy.md: this calculator and two others against published numbers (`make accuracy`)."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.accuracy import other_calculators as others
from sizer.architecture import Architecture
from sizer.errors import SizerError
from sizer.formats.gguf import gguf_name
from sizer.formats.stored import StoredTensor
from sizer.memory import kv_cache_bytes
from sizer.registry import CatalogueModel, models
from sizer.runtimes.llamacpp import LlamaCpp, compute_buffer_bytes
from sizer.tensors import count_parameters, tensor_specs
from tests.published_facts import csv_rows, json_lines
from tests.sizer.test_formats_llamacpp import oracle_architecture, oracle_types
from tests.sizer.test_memory import oracle_workload

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "accuracy.md"
FIGURE = ROOT / "docs" / "images" / "accuracy-speed.svg"
TOKENIZERS = ROOT / "sizer" / "data" / "tokenizers.toml"
MIB = 2**20

# Models under other names than the catalogue's. Qwen2 and Qwen2.5 have the same shapes (keras-hub's presets
# list one count for both), except that the catalogue has each size of them once.
SAME_SHAPE = {
    "tinyllama-1.1b-chat-v1.0": "TinyLlama-1.1B",
    "llama-2-7b-hf": "Llama-2-7B",
    "gemma-3-4b (text part)": "gemma-3-4b-text",
    "qwen2-0.5b": "Qwen2.5-0.5B",
    "qwen2.5-1.5b": "Qwen2-1.5B",
    "lfm2-350m (unsloth)": "LFM2-350M",
    "stablelm-2-zephyr-1_6b (stabilityai)": "stablelm-2-1_6b",
    "openelm-450m-instruct": "OpenELM-450M",
    "mistral-7b": "Mistral-7B-v0.1",
    "pythia-160m (quantfactory)": "pythia-160m",
    "bloom-560m (quantfactory)": "bloom-560m",
}
# The bits that a file type is called by, for calculators that know bits only.
NOMINAL_BITS = {"Q4_0": 4, "Q4_K_M": 4, "Q4_K_S": 4, "Q8_0": 8, "F16": 16}
# Llama 3.1 8B as its config.json has it, and the 64 factors of its rotary table that llama.cpp stores in F32.
LLAMA_31_8B = Architecture(
    name="Llama-3.1-8B",
    vocab_size=128256,
    num_layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    tie_embeddings=False,
)
ROPE_FACTORS = 64
UNIT_BYTES = {"GiB": 2**30, "GB": 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One published number and what each tool says of it; None where a tool says nothing."""

    name: str
    published: int
    answers: tuple[float | None, ...]
    note: str = ""

    def error(self, tool: int) -> float | None:
        """Relative error of a tool."""
        answer = self.answers[tool]
        return None if answer is None else answer / self.published - 1


def known_model(name: str) -> CatalogueModel | None:
    """The catalogue's model of that name (without its publisher), or of its shape; None if it has none."""
    plain = name.rsplit("/", 1)[-1].lower()
    catalogue = {known.lower(): row for known, row in models().items()}
    return catalogue.get(SAME_SHAPE.get(plain, plain).lower())


@cache
def accelerate_bytes(name: str, bits: int) -> float | None:
    """Bytes of the catalogue's model by accelerate; None for bits or a family it does not know."""
    whole = others.accelerate_float32_bytes(models()[name].config)
    return None if whole is None else whole / others.ACCELERATE_PARTS[bits]


def parameters() -> list[Comparison]:
    """Every model of the catalogue with a published exact count, and those of the published configs."""
    counts = {name: row.params_published for name, row in models().items() if row.params_published}
    for published in json_lines("configs.jsonl"):
        if published["params_published"]:
            row = known_model(published["model"])
            assert row is not None, f"{published['model']} has a published count and is not in the catalogue"
            counts.setdefault(row.architecture.name, published["params_published"])
    return [_parameter_row(models()[name], count) for name, count in sorted(counts.items(), key=_folded)]


def _folded(item: tuple[str, int]) -> str:
    return item[0].lower()


def _parameter_row(row: CatalogueModel, published: int) -> Comparison:
    a = row.architecture
    theirs = accelerate_bytes(a.name, 32)
    return Comparison(
        name=a.name,
        published=published,
        answers=(
            count_parameters(tensor_specs(a)).total,
            None if theirs is None else theirs / 4,
            others.llm_analysis_parameters(a),
        ),
    )


def files() -> tuple[list[Comparison], list[tuple[str, str]], list[str]]:
    """Published GGUF files compared; those refused with the reason; those whose shape is not known here."""
    compared: list[Comparison] = []
    refused: list[tuple[str, str]] = []
    unknown: list[str] = []
    for row in csv_rows("gguf_sizes.csv"):
        published = row["file_bytes"] or row["tensor_bytes"]
        if not published:
            continue
        name = f"{row['model']} {row['quant']}"
        found = known_model(row["config_model"] or row["model"])
        if found is None:
            unknown.append(name)
            continue
        separate = row["head_stored"] == "separate" or "stored twice" in row["note"]
        a = replace(found.architecture, tie_embeddings=False) if separate else found.architecture
        try:
            answers = _file_answers(found, a, row)
        except SizerError as error:
            refused.append((name, str(error)))
            continue
        note = "" if row["file_bytes"] else "tensors only"
        compared.append(Comparison(name=name, published=int(published), answers=answers, note=note))
    return compared, refused, unknown


def _file_answers(
    row: CatalogueModel, a: Architecture, published: dict[str, str]
) -> tuple[float | None, ...]:
    """Ours, ours as if no file with this tokenizer had been seen, accelerate's, llm-analysis's."""
    engine = LlamaCpp()
    file = engine.file_bytes(a, engine.store(a, published["quant"]))
    bits = NOMINAL_BITS.get(published["quant"])
    theirs: tuple[float | None, ...] = (None, None)
    if bits is not None:
        config_says = row.architecture  # a head stored apart is not in the config they read
        theirs = (accelerate_bytes(config_says.name, bits), others.llm_analysis_bytes(config_says, bits))
    if not published["file_bytes"]:
        return (file.tensor_bytes, None, *theirs)
    held_out = file.total - file.tokenizer_bytes + tokenizer_of_others(a.vocab_size)
    return (file.total, held_out, *theirs)


def tokenizer_of_others(vocab_size: int) -> int:
    """Bytes of a tokenizer in proportion to its rows, from tokenizers of other sizes (1 % or more) only."""
    rows = tomllib.loads(TOKENIZERS.read_text(encoding="utf-8"))["tokenizer"]
    apart = (row for row in rows if abs(row["vocab_size"] / vocab_size - 1) > 0.01)
    per_row: float = median(row["bytes"] / row["vocab_size"] for row in apart)
    return round(per_row * vocab_size)


def bits_per_weight() -> list[tuple[str, float, float]]:
    """File type, bits per weight that llama.cpp's own table prints for Llama 3.1 8B, and ours."""
    engine = LlamaCpp()
    found = []
    for row in csv_rows("gguf_sizes.csv"):
        if row["model"] != LLAMA_31_8B.name or not row["bits_per_weight"]:
            continue
        stored = engine.store(LLAMA_31_8B, row["quant"])
        total = sum(tensor.num_bytes for tensor in stored) + 4 * ROPE_FACTORS
        weights = sum(tensor.spec.num_elements for tensor in stored) + ROPE_FACTORS
        found.append((row["quant"], float(row["bits_per_weight"]), 8 * total / weights))
    return found


def printed_sizes() -> list[tuple[str, float, float, str]]:
    """Files whose size is printed in two or three digits: name, size, ours, the unit of both."""
    engine = LlamaCpp()
    found = []
    for row in csv_rows("gguf_sizes.csv"):
        size, _, unit = row["size_as_printed"].partition(" ")
        a = _printed_of(row)
        if row["file_bytes"] or unit not in UNIT_BYTES or a is None or row["quant"] not in engine.formats:
            continue
        file = engine.file_bytes(a, engine.store(a, row["quant"]))
        found.append((f"{row['model']} {row['quant']}", float(size), file.total / UNIT_BYTES[unit], unit))
    return found


def _printed_of(row: dict[str, str]) -> Architecture | None:
    if row["model"] == "Llama-3-8B":  # of the same shape, without factors
        return LLAMA_31_8B
    known = known_model(row["config_model"] or row["model"])
    return known.architecture if known else None


def memory() -> dict[str, list[tuple[float, float]]]:
    """MiB that llama.cpp printed and MiB said here, by part; llm-analysis's cache where it is F16."""
    parts: dict[str, list[tuple[float, float]]] = {
        "KV cache": [],
        "compute buffer": [],
        "output buffer": [],
        "KV cache in F16, llm-analysis": [],
    }
    for row in json_lines("oracle_llama_memory.jsonl"):
        a = oracle_architecture(row["shape"])
        w = oracle_workload(row)
        parts["KV cache"].append((row["kv_mib"], kv_cache_bytes(a, w) / MIB))
        parts["compute buffer"].append((row["compute_mib"], compute_buffer_bytes(a, w) / MIB))
        parts["output buffer"].append((row["output_mib"], LlamaCpp().memory(a, (), w).output_bytes / MIB))
        if row["cache_type"] == "F16":
            theirs = others.llm_analysis_kv_bytes(a, row["n_ctx"]) / MIB
            parts["KV cache in F16, llm-analysis"].append((row["kv_mib"], theirs))
    return parts


def quantizer() -> tuple[int, int, int, int]:
    """Files of llama.cpp's quantizer, those with every type and byte equal; tensors, and those equal."""
    engine = LlamaCpp()
    rows = json_lines("oracle_llama_quantize.jsonl")
    whole = tensors = equal = 0
    for row in rows:
        stored = engine.store(oracle_architecture(row["shape"]), row["ftype"])
        theirs = oracle_types(row)
        right = sum(theirs.get(gguf_name(tensor.spec)) == tensor.type.name for tensor in stored)
        tensors += len(theirs)
        equal += right
        whole += right == len(theirs) == len(stored) and _total(stored) == row["tensor_bytes"]
    return len(rows), whole, tensors, equal


def _total(stored: Iterable[StoredTensor]) -> int:
    return sum(tensor.num_bytes for tensor in stored)


if __name__ == "__main__":
    from benchmarks.accuracy.figure import latency_figure
    from benchmarks.accuracy.page import document

    for target, text in ((TARGET, document()), (FIGURE, latency_figure())):
        target.write_text(text, encoding="utf-8")
        print(f"wrote {target.relative_to(ROOT)}")
