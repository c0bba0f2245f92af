"""Each form of llama-bench's output, with log lines around it, gives the same runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sizer.calibration.bench_text import read_rows
from sizer.calibration.llama_bench import BenchResults, read_llama_bench
from sizer.errors import InvalidFile

CASES = Path(__file__).parent / "data" / "bench"
PLAIN: list[dict[str, Any]] = json.loads((CASES / "plain.json").read_text(encoding="utf-8"))
DECODE_ROW = PLAIN[1]
LOG = (
    "ggml_cuda_init: GGML_CUDA_FORCE_MMQ:    no\n"
    "ggml_cuda_init: found 1 CUDA devices:\n"
    "  Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes\n"
    "ggml_vulkan: 0 = AMD Radeon 780M (RADV PHOENIX) (radv) | uma: 1 | fp16: 1 | warp size: 64\n"
    "[2026-01-02 03:04:05] {not json} [1/2]\n"
    "{\n  braces: in a log line\n"
    "| ggml | a line with bars |\n"
    "llama-bench: benchmark 1/2: starting\n"
)


def as_json(rows: list[dict[str, Any]]) -> str:
    """Print as json_printer does: one field a line, samples on one line."""
    texts = []
    for row in rows:
        fields = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in row.items())
        texts.append(f"  {{\n{fields}\n  }}")
    return "[\n" + ",\n".join(texts) + "\n]\n"


def as_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def plain_cells(row: dict[str, Any]) -> dict[str, str]:
    """Return the values as csv_printer and sql_printer have them: text, without the samples."""
    found = {k: v for k, v in row.items() if not k.startswith("samples")}
    return {k: str(int(v)) if isinstance(v, bool) else str(v) for k, v in found.items()}


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    out = io.StringIO()
    cells = [plain_cells(row) for row in rows]
    out.write(delimiter.join(cells[0]) + "\n")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n", delimiter=delimiter)
    writer.writerows(row.values() for row in cells)
    return out.getvalue()


def as_sql(rows: list[dict[str, Any]]) -> str:
    lines = ["CREATE TABLE IF NOT EXISTS llama_bench (", "  build_commit TEXT,", "  n_gen INTEGER", ");", ""]
    for row in map(plain_cells, rows):
        values = ", ".join(f"'{value}'" for value in row.values())
        lines.append(f"INSERT INTO llama_bench ({', '.join(row)}) VALUES ({values});")
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def speeds(found: BenchResults) -> tuple[float, float]:
    """Return tokens per second of the prompt and of generation, of a file with one of each."""
    (prefill,) = (s.prompt_tokens / s.prefill_s for s in found.samples if s.prefill_s)
    (decode,) = (1 / s.decode_s for s in found.samples if s.decode_s)
    return prefill, decode


FORMS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "json": as_json,
    "jsonl": as_lines,
    "csv": as_csv,
    "sql": as_sql,
    "semicolons": lambda rows: as_csv(rows, ";"),
    "one line": json.dumps,
    "wrapped": lambda rows: json.dumps({"machine": "x", "results": rows}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("windows", [False, True])
def test_every_form_is_one_profile(form: str, windows: bool, tmp_path: Path) -> None:
    text = LOG + FORMS[form](PLAIN) + LOG
    path = write(tmp_path / "r.txt", text.replace("\n", "\r\n") if windows else text)
    found = read_llama_bench(path)
    assert (found.backend, found.build, found.date) == ("cpu", "b1234567", "2026-03-02")
    assert found.setup == "4 threads, flash attention off"
    assert found.processor == "ARMv8 Processor rev 0 (v8l)"
    # the case was made with 80 and 21 tokens per second
    assert speeds(found) == pytest.approx((80.0, 21.0), rel=1e-8)
    assert found.samples[0].model.costs.step_bytes == 763_097_088  # bytes of Q4_0 without RoPE factors


def test_log_lines_within_a_json_list_are_skipped(tmp_path: Path) -> None:
    """`2>&1` puts the progress between the objects, and warnings between their lines."""
    text = as_json(PLAIN).replace("  {\n", "  {\nllama-bench: benchmark 2/2: starting\n")
    text = text.replace(",\n  {", "\nwarning: debug build\n,\n  {")
    assert speeds(read_llama_bench(write(tmp_path / "r.json", text))) == pytest.approx((80.0, 21.0))


def test_a_list_that_was_not_closed_is_read(tmp_path: Path) -> None:
    """Ctrl-C after the second test: both runs are whole."""
    text = as_json(PLAIN).rstrip().removesuffix("]")
    assert speeds(read_llama_bench(write(tmp_path / "r.json", text))) == pytest.approx((80.0, 21.0))


# Printed by the markdown_printer of several years for one model; the columns differ.
TABLES = {
    "2026": (CASES / "md.md").read_text(encoding="utf-8"),
    "2023": (CASES / "2023.md").read_text(encoding="utf-8"),
    "edited": """Results on my board:

model | size | params | backend | threads | test | t/s
--- | ---: | ---: | --- | ---: | ---: | ---:
llama 1B Q4_0 | 0.7107 GiB | 1,235.81 M | CPU | 4 | pp512 | **80.00** +/- 0.50
llama 1B Q4_0 | 0.7107 GiB | 1,235.81 M | CPU | 4 | tg128 | `21.00`

build: b1234567 (1500)
""",
}
# As answers to a message or an issue have it.
TABLES["quoted"] = "".join(
    f"> {line}" for line in TABLES["2026"].replace("±", "+-").splitlines(keepends=True)
)


@pytest.mark.parametrize("table", TABLES)
def test_tables_are_read(table: str, tmp_path: Path) -> None:
    found = read_llama_bench(write(tmp_path / "r.md", LOG + TABLES[table]))
    assert (found.backend, found.build, found.repeats) == ("cpu", "b1234567", 0)
    assert found.setup == "4 threads, flash attention not stated"  # a default, which changed
    assert speeds(found) == pytest.approx((80.0, 21.0), rel=1e-6)
    # 727.75 MiB and 1.24 B are the bytes and weights of Llama-3.2-1B in Q4_0
    assert found.samples[0].model.costs.step_bytes == 763_097_088
    assert found.samples[0].model.costs.executed_layers == 16


@pytest.mark.parametrize("form", ["cp1252", "utf-16", "utf-8-sig"])
def test_tables_in_other_encodings(form: str, tmp_path: Path) -> None:
    path = tmp_path / "r.md"
    path.write_text(TABLES["2026"], encoding=form)
    assert speeds(read_llama_bench(path)) == pytest.approx((80.0, 21.0), rel=1e-6)


def test_a_gpus_table_names_layers_depth_and_device(tmp_path: Path) -> None:
    path = write(tmp_path / "r.md", LOG + (CASES / "gpu.md").read_text(encoding="utf-8"))
    found = read_llama_bench(path)
    assert (found.backend, found.processor) == ("cuda", "NVIDIA GeForce RTX 3090")
    assert found.setup == "threads not stated, flash attention on, cache q8_0"
    first, second, third, fourth = found.samples  # prompt and generation in one row is neither
    assert (first.prompt_tokens, first.earlier_tokens) == (512, 0)
    assert first.prefill_s == pytest.approx(512 / 12345.67)
    assert (second.prompt_tokens, second.earlier_tokens) == (512, 4096)
    assert (third.depth_tokens, fourth.depth_tokens) == (64, 4160)
    assert fourth.decode_s == pytest.approx(1 / 300)
    # a cached position: keys and values of 16 layers of 8 heads of 64, 34 bytes for 32 elements
    assert third.model.kv_bytes_per_token == 2 * 16 * 8 * 64 // 32 * 34


def test_the_table_beside_the_json_is_not_counted_twice(tmp_path: Path) -> None:
    """`-o json -oe md` prints every run in both."""
    text = TABLES["2026"] + as_json(PLAIN)
    assert len(read_llama_bench(write(tmp_path / "r.txt", text)).samples) == 2


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "sql"])
@pytest.mark.parametrize("share", [0.7, 0.95])
def test_a_run_that_was_cut_off_is_one_line(form: str, share: float, tmp_path: Path) -> None:
    text = FORMS[form](PLAIN)
    with pytest.raises(
        InvalidFile, match=r"r\.txt is not complete (JSON|CSV|SQL) from line \d+ on"
    ) as caught:
        read_llama_bench(write(tmp_path / "r.txt", text[: int(share * len(text))]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [6, 40, 100, 105])
def test_a_table_that_was_cut_off_is_one_line(kept: int, tmp_path: Path) -> None:
    """A speed of 2 is no speed of 21.00."""
    lines = TABLES["2026"].splitlines()
    text = "\n".join([*lines[:3], lines[3][:kept]])
    with pytest.raises(InvalidFile, match="is not a complete table from line 4 on"):
        read_llama_bench(write(tmp_path / "r.md", text))


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="larger than 10000000 bytes"):
        read_rows(write(tmp_path / "r.json", " " * 10_000_001))
    line = json.dumps({"n_gen": 1}) + "\n"
    with pytest.raises(InvalidFile, match="more than 20000 runs"):
        read_rows(write(tmp_path / "s.json", line * 20_002))


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("tg128", "avg_ts must be tokens per second, got 'fast'"),
        ("pl64", "n_prompt must be a whole number of at least 0, got 'pl64'"),
    ],
)
def test_a_strange_cell_is_named(cell: str, said: str, tmp_path: Path) -> None:
    text = TABLES["2026"].replace("pp512", cell).replace("80.00 ± 0.50", "fast")
    with pytest.raises(InvalidFile, match="run 1") as caught:
        read_llama_bench(write(tmp_path / "r.md", text))
    assert said in str(caught.value)
