"""The fit of a device's costs: known costs come back, thin data give sensible ones, held-out stays honest."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from math import exp
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.calibration.bench_models import SHAPES, bench_file_bytes, bench_models, bench_shape
from sizer.calibration.least_squares import nonnegative_least_squares
from sizer.calibration.samples import Sample, TimedModel, median_error, timed_model
from sizer.calibration.speed_fit import fit_speed
from sizer.devices.constants import profiles
from sizer.devices.profile import Profile
from sizer.devices.speed_model import decode_seconds, init_seconds, prefill_seconds
from sizer.errors import MeasurementError
from sizer.formats.llamacpp import mix
from sizer.prediction import Basis
from sizer.tensors import tensor_specs
from sizer.workload import Workload

TRUE = Profile(
    runtime="llama.cpp",
    backend="cpu",
    basis=Basis.MEASURED,
    seconds_fixed=2e-4,
    seconds_per_layer=6e-5,
    bytes_per_s=12e9,
    byte_cost=(("Q8_0", 12 / 15), ("Q4_K", 12 / 9), ("Q6_K", 12 / 10), ("Q5_0", 12 / 7)),
    bits_low=0.0,
    bits_high=32.0,
    decode_factor=1.0,
    ops_per_s=90e9,
    op_cost=(("Q8_0", 90 / 80), ("Q4_K", 90 / 150), ("Q6_K", 90 / 120), ("Q5_0", 90 / 60)),
    activation_element_s=2e-9,
    attention_op_s=2 / 150e9,
    init_s=0.1,
    init_seconds_per_byte=1e-9,
)


def decode_s(model: TimedModel, depth_tokens: float, constants: Profile = TRUE) -> float:
    return decode_seconds(model.costs, depth_tokens * model.kv_bytes_per_token, constants)


def prefill_s(model: TimedModel, prompt_tokens: int, constants: Profile = TRUE) -> float:
    return prefill_seconds(model.costs, Workload(prompt_tokens=prompt_tokens), constants)


def rates(constants: Profile) -> tuple[dict[str, float], dict[str, float]]:
    """Bytes and operations per second by stored type."""
    c = constants
    return (
        {name: c.bytes_per_s / cost for name, cost in c.byte_cost},
        {name: c.ops_per_s / cost for name, cost in c.op_cost},
    )


def works() -> list[TimedModel]:
    return [
        timed_model(m.name, m.architecture, m.store(), file_bytes=bench_file_bytes(m)) for m in bench_models()
    ]


def sample(model: TimedModel, noise: Callable[[], float] = lambda: 1.0) -> Sample:
    return Sample(
        model=model,
        depth_tokens=140,
        decode_s=noise() * decode_s(model, 140),
        prompt_tokens=128,
        prefill_s=noise() * prefill_s(model, 128),
        load_s=noise() * init_seconds(model.file_bytes, TRUE),
    )


def mixed(format_name: str, **shape: int) -> TimedModel:
    architecture = bench_shape("unseen", **shape)
    stored = mix(format_name).assign(architecture, tensor_specs(architecture))
    return timed_model("unseen", architecture, stored, file_bytes=sum(t.num_bytes for t in stored))


def test_costs_by_type_add_up_to_the_whole() -> None:
    model = mixed("Q4_K_M", layers=10, width=512, mlp=1536, kv_heads=4)
    assert set(model.step_bytes) == {"F32", "Q4_K", "Q6_K"}
    assert sum(model.step_bytes.values()) == model.costs.step_bytes
    assert sum(model.prompt_ops(100).values()) == pytest.approx(model.costs.prompt_ops(100))
    # by hand: Q4_K is 144 bytes for 256 weights; 10 layers, keys and values, KV width 256, 16 bits
    assert model.step_bytes["Q4_K"] % 144 == 0
    assert model.kv_bytes_per_token == 10 * 2 * 256 * 2


def test_seconds_by_hand() -> None:
    model = works()[0]
    assert model.name == "deep-Q8_0"
    read = model.step_bytes["Q8_0"] / 15e9 + model.step_bytes["F32"] / 12e9
    kv = 100 * 48 * 2 * 128 * 2  # positions, layers, keys and values, KV width, 16 bits
    assert decode_s(model, 100) == pytest.approx(2e-4 + 48 * 6e-5 + read + kv / 12e9, rel=1e-12)
    # q and o 2 x (256 + 256), k and v 2 x (256 + 128), gate, up and down 3 x (256 + 768), in 48 layers
    assert model.costs.activation_elements == 48 * (1024 + 768 + 3072)
    ops = model.prompt_ops(100)
    computed = ops["Q8_0"] / 80e9 + ops["F32"] / 90e9 + 100 * 48 * 4864 * 2e-9
    # 4 x 4 heads x 64 for each token and position, of which 1 + 2 + ... + 100, in 48 layers
    computed += 48 * 1024 * 5050 * 2 / 150e9
    assert prefill_s(model, 100) == pytest.approx(computed + 2e-4 + 48 * 6e-5, rel=1e-12)


def test_known_costs_come_back_and_predict_mixes_of_unseen_shapes() -> None:
    fit = fit_speed([sample(w) for w in works()])
    found = fit.constants
    assert found.seconds_per_layer == pytest.approx(TRUE.seconds_per_layer, rel=0.03)
    assert found.init_seconds_per_byte == pytest.approx(TRUE.init_seconds_per_byte, rel=0.03)
    assert found.activation_element_s == pytest.approx(TRUE.activation_element_s, rel=0.1)
    for name, rate in rates(TRUE)[0].items():
        assert rates(found)[0][name] == pytest.approx(rate, rel=0.03)
    for format_name in ("Q4_K_M", "Q8_0"):
        unseen = mixed(format_name, layers=14, width=768, mlp=2048, kv_heads=4)
        assert decode_s(unseen, 0, found) == pytest.approx(decode_s(unseen, 0), rel=0.03)
        assert prefill_s(unseen, 100, found) == pytest.approx(prefill_s(unseen, 100), rel=0.03)
    for errors in (fit.decode_errors, fit.prefill_errors):
        assert median_error(errors.values()) == pytest.approx(0, abs=0.02)
    assert fit.constants.decode_factor < 1.1


def test_rows_and_columns_of_matrices_cost_time_on_a_cpu_under_llama_cpp() -> None:
    true = TRUE._replace(seconds_per_layer=0.0, seconds_fixed=0.0, step_element_s=14e-9)
    samples = [Sample(model=w, decode_s=decode_s(w, 0, true)) for w in works()]
    fit = fit_speed(samples)
    assert fit.constants.step_element_s == pytest.approx(14e-9, rel=0.15)
    assert (median_error(fit.decode_errors.values()) or 0.0) < 0.05
    for layers, width in ((30, 576), (12, 64)):
        unseen = mixed("Q8_0", layers=layers, width=width, mlp=3 * width, kv_heads=1)
        assert decode_s(unseen, 0, fit.constants) == pytest.approx(decode_s(unseen, 0, true), rel=0.05)
    # a kernel of a graphics unit costs the same however many rows it has
    assert fit_speed(samples, backend="cuda").constants.step_element_s == 0


def test_noise_shows_in_the_held_out_error_and_the_range() -> None:
    draw = random.Random(1)
    errors, factors = [], []
    for sd in (0.02, 0.15):
        fit = fit_speed([sample(w, noise=lambda sd=sd: exp(draw.gauss(0, sd))) for w in works()])  # type: ignore[misc]
        errors.append(median_error(fit.decode_errors.values()))
        factors.append(fit.constants.decode_factor)
    assert errors[0] is not None
    assert errors[1] is not None
    assert errors[0] < 0.05 < errors[1]
    assert 1 < factors[0] < factors[1]


def test_held_out_leaves_out_the_whole_shape() -> None:
    """A shape that breaks the rule costs all its models, whatever their type; the others stay good."""
    samples = [sample(w) for w in works()]
    odd = [
        Sample(model=s.model, decode_s=3 * s.decode_s) if s.model.shape == "wide" and s.decode_s else s
        for s in samples
    ]
    errors = fit_speed(odd).decode_errors
    wide = [abs(e) for label, e in errors.items() if label.startswith("wide-")]
    assert min(wide) > 0.7
    assert median(wide) == pytest.approx(1.1, abs=0.3)


def test_one_model_alone_gives_sensible_costs() -> None:
    """One mix cannot tell its types or its layers apart: they stay near the average and the runtime's."""
    fit = fit_speed([sample(mixed("Q4_K_M", layers=20, width=768, mlp=2048, kv_heads=4))])
    found = fit.constants
    prior = profiles().seconds_per_layer["llama.cpp", "cpu"]
    assert 0.3 * prior < found.seconds_per_layer < 1.5 * prior
    assert 5e9 < found.bytes_per_s < 20e9
    assert all(0.5 < cost < 2 for _, cost in found.byte_cost)
    assert found.activation_element_s == pytest.approx(0)  # one prompt cannot tell it from operations
    assert fit.decode_errors == {}
    # the range of catalogue devices with few rows, which were held out
    few = [block for *_, block in profiles().blocks if "few = true" in block and 'backend = "cpu"' in block]
    assert any(f"\ndecode_factor = {fit.constants.decode_factor}\n" in block for block in few)
    # of its own engine, the middle: other engines' ranges on CPUs are twice as wide
    assert fit.constants.decode_factor < 2.5


def test_without_prefill_or_start_up_there_are_no_such_costs() -> None:
    found = fit_speed([Sample(model=w, decode_s=decode_s(w, 0)) for w in works()]).constants
    assert (found.ops_per_s, found.prefill_factor, found.load_factor) == (0, 0, 0)


def test_no_decode_speed_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no decode speed"):
        fit_speed([Sample(model=works()[0], prompt_tokens=128, prefill_s=0.1)])


def test_prompts_longer_than_a_micro_batch_run_the_layers_again() -> None:
    model = works()[0]
    one = Sample(model=model, prompt_tokens=512, prefill_s=1.0)
    two = Sample(model=model, prompt_tokens=513, prefill_s=1.0)
    assert (one.batches, two.batches) == (1, 2)
    smaller = replace(one, ubatch_tokens=256)
    one_s, smaller_s = (s.predicted_prefill_s(TRUE) for s in (one, smaller))
    assert smaller_s - one_s == pytest.approx(TRUE.seconds_fixed + 48 * TRUE.seconds_per_layer)


@settings(max_examples=50)
@given(
    st.lists(st.floats(0, 10), min_size=3, max_size=3),
    st.lists(st.lists(st.floats(0.1, 10), min_size=3, max_size=3), min_size=3, max_size=8),
)
def test_least_squares_recover_known_coefficients(coefficients: list[float], rows: list[list[float]]) -> None:
    matrix = np.array(rows)
    if np.linalg.cond(matrix) > 30:
        return
    targets = matrix @ np.array(coefficients)
    assert nonnegative_least_squares(matrix, targets) == pytest.approx(coefficients, abs=1e-4)


def test_least_squares_never_go_below_zero() -> None:
    # unconstrained: (2, -1)
    assert nonnegative_least_squares(np.array([[1.0, 1], [1, 0]]), np.array([1.0, 2])) == pytest.approx(
        [1.5, 0]
    )


def test_every_shape_of_the_plan_is_held_out() -> None:
    fit = fit_speed([sample(w) for w in works()])
    assert {label.split("-")[0] for label in fit.decode_errors} == set(SHAPES)
    assert fit.shapes == len(SHAPES)
