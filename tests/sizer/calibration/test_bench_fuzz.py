"""Thousands of damaged files of each form: a result or one line, quickly and in little memory."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path

import pytest

from sizer.calibration.llama_bench import read_llama_bench
from sizer.errors import SizerError
from tests.sizer.calibration.test_bench_text import CASES, LOG, PLAIN, as_csv, as_json, as_lines, as_sql

FORMS = {
    "json": as_json(PLAIN),
    "jsonl": as_lines(PLAIN),
    "csv": as_csv(PLAIN),
    "sql": as_sql(PLAIN),
    "md": (CASES / "gpu.md").read_text(encoding="utf-8"),
}
# What breaks readers: deep nesting, huge and odd numbers, quotes, other forms' marks, nothing
PIECES = (
    *(
        "",
        "\n",
        "\r",
        "\x00",
        " ",
        ",",
        ";",
        "|",
        '"',
        "'",
        "`",
        "{",
        "}",
        "[",
        "]",
        "[" * 500,
        '{"a":' * 500,
    ),
    *("-1", "0", "1e999", "NaN", "Infinity", "9" * 400, "9" * 5000, "1e-300", "true", "null", "99999999999"),
    *("pp", "tg", " @ d", "±", "\ufeff", "\ud7ff", "t/s", "avg_ns", "n_gen", "INSERT INTO x (a) VALUES ('"),
    *("| model | test | t/s |\n", "build: ", "n_prompt,n_gen,avg_ns\n", "[1]\n", "{\n", "not a line\n"),
)


def damaged(text: str, dice: random.Random) -> bytes:
    """Return the text with a few pieces cut, doubled, exchanged or replaced, or some bytes changed."""
    for _ in range(dice.randint(1, 4)):
        a, b = sorted(dice.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + dice.choice((0, 1, 5, 50, 2000)))
        piece = dice.choice((*PIECES, text[a:b] * dice.randint(1, 3), text[b : b + 20]))
        text = text[:a] + piece + text[b:]
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if dice.random() < 0.3 and data:
        for _ in range(dice.randint(1, 5)):
            data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data[: dice.randrange(len(data) + 1)] if dice.random() < 0.2 else data)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused_in_one_line(form: str, count: int, tmp_path: Path) -> None:
    dice = random.Random(count)
    path = tmp_path / "r.txt"
    read_llama_bench(CASES / "plain.json")  # the catalogue is read once
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for _ in range(count):
        path.write_bytes(damaged(LOG + FORMS[form], dice))
        begin = time.process_time()
        try:
            found = read_llama_bench(path)
        except SizerError as error:
            refused += 1
            message = str(error)
            assert message.startswith("from-llama-bench: ")
            assert "\n" not in message
            assert "accepted:" in message or "must be" in message
            assert len(message) < 1500
        else:
            assert all(0 < (s.decode_s or s.prefill_s or 0) < float("inf") for s in found.samples)
        assert time.process_time() - begin < 1.0
    assert 0 < refused < count
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200 * 1024


@pytest.mark.parametrize(
    "line",
    [
        '{"n_gen": 1, "a": [1, 2, 3]}\n',
        "| model | test | t/s |\n| a | b |\n",
        'n_prompt,n_gen,avg_ns\n"1","2","x\n',
        "{\n",
        "[[[[",
        "\n",
        '{"n_gen": 1}, ',
        "INSERT INTO x (",
        "ggml_vulkan: 0 = (((",
        "{\n  }\n",
        '{\nx\n"\n',
        '{\nx\n"}\n',
    ],
)
def test_ten_megabytes_of_anything_take_linear_time(line: str, tmp_path: Path) -> None:
    """Twice the bytes take about twice the time, whatever is repeated."""
    seconds = []
    for size in (1_000_000, 4_000_000):
        path = tmp_path / "r.txt"
        path.write_text(line * (size // len(line)), encoding="utf-8")
        begin = time.process_time()
        with pytest.raises(SizerError):
            read_llama_bench(path)
        seconds.append(time.process_time() - begin)
    assert seconds[1] < 12 * seconds[0] + 0.2
    assert seconds[1] < 6
