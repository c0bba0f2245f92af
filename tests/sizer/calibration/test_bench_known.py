"""Models behind llama-bench's rows: by name, by counts, and where the shape is unknown by their bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sizer.calibration.bench_known import KnownModel, known_model
from sizer.calibration.bench_runs import BenchRun
from sizer.calibration.calibrate import calibrate_from_bench
from sizer.calibration.llama_bench import read_llama_bench
from sizer.calibration.samples import Sample
from sizer.devices.device import DeviceKind
from tests.sizer.calibration.test_bench_text import CASES, DECODE_ROW


def known(**changed: Any) -> KnownModel | None:
    return known_model(BenchRun("r.json", 1, {**DECODE_ROW, **changed}))


# Names, bytes and weights as llama-bench prints them for published files
@pytest.mark.parametrize(
    ("file_name", "size", "weights", "layers", "similar", "type_name"),
    [
        ("tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf", 667_078_656, 1_100_048_384, 22, False, "Q4_K"),
        ("Qwen3-0.6B-IQ4_XS.gguf", 360_000_000, 596_049_920, 28, False, "IQ4_XS"),
        ("Qwen3-0.6B-UD-Q4_K_XL.gguf", 401_000_000, 596_049_920, 28, False, "Q4_K"),
        ("bitnet-TQ1_0.gguf", 200_000_000, 728_842_752, 24, False, "TQ1_0"),
        ("bitnet-TQ2_0.gguf", 235_000_000, 728_842_752, 24, False, "TQ2_0"),
        ("sha256-74701a8c35f6c8d9a4b91f3f3497643001d63e0c", 1_220_000_000, 1_235_814_432, 16, False, "Q8_0"),
        ("Llama-3.2-3B-Instruct-Q4_K_M.gguf", 2_012_012_800, 3_212_749_888, 28, False, "Q4_K"),
        ("Qwen2.5-1.5B-Instruct-IQ3_M.gguf", 770_000_000, 1_543_714_304, 28, False, "IQ3_S"),
        ("my-own-Q8_0.gguf", 1_200_000, 1_100_000, None, True, "Q8_0"),
    ],
)
def test_published_files_have_their_bytes(
    file_name: str, size: int, weights: int, layers: int | None, similar: bool, type_name: str
) -> None:
    found = known(model_filename=file_name, model_type="?", model_size=size, model_n_params=weights)
    assert found is not None
    assert found.is_similar is similar
    costs = found.model.costs
    assert dict(costs.bytes_by_type)[type_name] > 0.4 * costs.step_bytes
    # all bytes are read, but for an embedding that is not the head, too
    read = costs.block_weights + costs.head_weights
    assert costs.step_bytes == pytest.approx(size * min(1, read / weights), rel=0.05)
    assert read == pytest.approx(weights, rel=0.12)
    if layers is not None:
        assert costs.executed_layers == pytest.approx(layers, rel=0.35 if similar else 0)


def test_a_relative_lends_its_vocabulary() -> None:
    """Gemma 3 1B: 262144 x 1152 weights of a table that is the head, too, of 999.9 M (its config.json)."""
    found = known(
        model_filename="gemma-3-1b-it-Q4_K_M.gguf", model_size=799_537_152, model_n_params=999_885_952
    )
    assert found is not None
    assert found.model.costs.head_weights == pytest.approx(262_144 * 1152, rel=0.15)


@pytest.mark.parametrize(
    ("file_name", "size", "weights"),
    [
        ("Mystery-8x1B-Q4_0.gguf", 4_500_000_000, 8_000_000_000),
        ("gpt-oss-20b-mxfp4.gguf", 12_100_000_000, 20_900_000_000),
        ("ERNIE-4.5-21B-A3B-Q4_K_M.gguf", 13_000_000_000, 21_800_000_000),
        ("few-bytes.gguf", 1000, 1_000_000_000),  # a millionth of a bit each
        ("many-bytes.gguf", 10**12, 1_000_000),
    ],
)
def test_bytes_that_say_nothing_of_a_step_are_not_used(file_name: str, size: int, weights: int) -> None:
    assert known(model_filename=file_name, model_type="?", model_size=size, model_n_params=weights) is None


def test_an_exported_model_is_known_in_a_table(tmp_path: Path) -> None:
    """A table prints no file name: 17.39 M weights in 17.63 MiB are deep-Q8_0's and no other's."""
    from sizer.calibration.bench_models import SHAPES, BenchModel

    bench = BenchModel(SHAPES["deep"], "Q8_0")
    stored = bench.store()
    size, weights = sum(t.num_bytes for t in stored), sum(t.spec.num_elements for t in stored)
    path = tmp_path / "r.md"
    path.write_text(
        f"| model | size | params | backend | threads | test | t/s |\n{'| --- ' * 7}|\n"
        f"| llama ?B Q8_0 | {size / 2**20:.2f} MiB | {weights / 1e6:.2f} M | CPU | 4 | tg32 | 99.0 ± 0.1 |\n",
        encoding="utf-8",
    )
    (sample,) = read_llama_bench(path).samples
    assert sample.model.costs.executed_layers == 48
    assert sample.model.costs.step_bytes == size


def test_a_profile_by_hand() -> None:
    """Llama-3.2-1B Q4_0 at 21 tokens/s: 763,097,088 bytes of weights, 64 cached tokens of 32,768 bytes.

    A cached token: keys and values of 16 layers of 8 heads of 64 halves. What 16 layers do not take of 1/21 s
    reads the bytes.
    """
    constants = calibrate_from_bench(
        read_llama_bench(CASES / "plain.json"), name="x", kind=DeviceKind.BOARD
    ).fit.constants
    left_s = 1 / 21 - 16 * constants.seconds_per_layer - constants.seconds_fixed
    assert constants.bytes_per_s == pytest.approx((763_097_088 + 64 * 32_768) / left_s, rel=1e-3)
    assert 16.0e9 < constants.bytes_per_s < 17.5e9


def test_lengths_are_used_for_what_they_are(tmp_path: Path) -> None:
    """Prompts of 512 and 4096 tokens, and generation after 0 and 4096: each where it was measured."""
    text = (CASES / "gpu.md").read_text(encoding="utf-8")
    path = tmp_path / "r.md"
    path.write_text(text, encoding="utf-8")
    samples = read_llama_bench(path).samples
    assert [s.kv_bytes for s in samples if s.decode_s] == [64 * 17_408, 4160 * 17_408]
    fresh, later = (s.model.prompt_ops(s.prompt_tokens, s.earlier_tokens) for s in samples if s.prefill_s)
    # attention: 4 x 16 layers x 32 heads x 64 per token and position; 4096 earlier ones for 512 tokens
    more = sum(later.values()) - sum(fresh.values())
    head = 2 * samples[0].model.costs.head_weights  # once a call, and a difference of two calls has none
    assert more == pytest.approx(4 * 16 * 32 * 64 * 512 * 4096 - head)


def test_long_prompts_tell_what_attention_costs(tmp_path: Path) -> None:
    """TinyLlama on an ARM CPU: 194.05 tokens/s at 512, 115.5 at 4096 (github geerlingguy/ai-benchmarks#51).

    With both, both come back; from 512 alone the long prompt is a guess, in the range and not 45 % too fast.
    """
    rows = json.loads((CASES / "real-cix.json").read_text(encoding="utf-8"))
    ns = round(4096 / 115.5 * 1e9)
    long = {**rows[0], "n_prompt": 4096, "samples_ns": [ns] * 3}
    found = {}
    for name, given in (("one", rows), ("both", [*rows, long])):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(given), encoding="utf-8")
        fit = calibrate_from_bench(read_llama_bench(path), name="x", kind=DeviceKind.BOARD).fit
        model = fit.samples[0].model
        speeds = {
            n: n / Sample(model=model, prompt_tokens=n).predicted_prefill_s(fit.constants)
            for n in (512, 4096)
        }
        found[name] = speeds[512], speeds[4096], fit.constants.prefill_factor
    assert found["both"][:2] == pytest.approx((194.05, 115.5), rel=0.01)
    assert found["one"][0] == pytest.approx(194.05, rel=0.01)
    assert found["one"][1] == pytest.approx(115.5, rel=0.2)
    assert found["one"][1] / found["one"][2] < 115.5 < found["one"][1] * found["one"][2]
