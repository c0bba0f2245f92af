"""The fit of a device's costs: known costs come back, thin data give sensible ones, held-out stays honest."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import exp
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.errors import MeasurementError
from sizer.formats.llamacpp import mix
from sizer.latency import profiles
from sizer.measure.bench_models import SHAPES, bench_file_bytes, bench_models, bench_shape
from sizer.measure.speed_fit import (
    Costs,
    ModelWork,
    Sample,
    fit_speed,
    median_error,
    model_work,
    nonnegative_least_squares,
)
from sizer.tensors import tensor_specs

TRUE = Costs(
    fixed_s=2e-4,
    layer_s=6e-5,
    byte_s=1 / 12e9,
    type_byte_s={"Q8_0": 1 / 15e9, "Q4_K": 1 / 9e9, "Q6_K": 1 / 10e9, "Q5_0": 1 / 7e9},
    op_s=1 / 90e9,
    type_op_s={"Q8_0": 1 / 80e9, "Q4_K": 1 / 150e9, "Q6_K": 1 / 120e9, "Q5_0": 1 / 60e9},
    activation_element_s=2e-9,
    init_s=0.1,
    init_byte_s=1e-9,
)


def works() -> list[ModelWork]:
    return [
        model_work(m.name, m.architecture, m.store(), file_bytes=bench_file_bytes(m)) for m in bench_models()
    ]


def sample(work: ModelWork, costs: Costs = TRUE, noise: Callable[[], float] = lambda: 1.0) -> Sample:
    return Sample(
        model=work,
        depth_tokens=140,
        decode_s=noise() * costs.decode_s(work, 140 * work.kv_bytes_per_token),
        prompt_tokens=128,
        prefill_s=noise() * costs.prefill_s(work, 128),
        load_s=noise() * costs.load_s(work),
    )


def mixed(format_name: str, **shape: int) -> ModelWork:
    architecture = bench_shape("unseen", **shape)
    stored = mix(format_name).assign(architecture, tensor_specs(architecture))
    return model_work("unseen", architecture, stored, file_bytes=sum(t.num_bytes for t in stored))


def test_work_by_type_adds_up_to_the_whole() -> None:
    model = mixed("Q4_K_M", layers=10, width=512, mlp=1536, kv_heads=4)
    assert set(model.step_bytes) == {"F32", "Q4_K", "Q6_K"}
    assert sum(model.step_bytes.values()) == model.work.step_bytes
    assert sum(model.prompt_ops(100).values()) == pytest.approx(model.work.prompt_ops(100))
    # by hand: Q4_K is 144 bytes for 256 weights; 10 layers, keys and values, KV width 256, 16 bits
    assert model.step_bytes["Q4_K"] % 144 == 0
    assert model.kv_bytes_per_token == 10 * 2 * 256 * 2


def test_decode_seconds_by_hand() -> None:
    work = works()[0]
    assert work.name == "deep-Q8_0"
    read = work.step_bytes["Q8_0"] / 15e9 + work.step_bytes["F32"] / 12e9
    kv = 100 * 48 * 2 * 128 * 2  # positions, layers, keys and values, KV width, 16 bits
    assert TRUE.decode_s(work, kv) == pytest.approx(2e-4 + 48 * 6e-5 + read + kv / 12e9, rel=1e-12)


def test_prefill_seconds_by_hand() -> None:
    work = works()[0]
    # q and o 2 x (256 + 256), k and v 2 x (256 + 128), gate, up and down 3 x (256 + 768), in 48 layers
    assert work.work.activation_elements == 48 * (1024 + 768 + 3072)
    ops = work.prompt_ops(100)
    computed = ops["Q8_0"] / 80e9 + ops["F32"] / 90e9 + 100 * 48 * 4864 * 2e-9
    assert TRUE.prefill_s(work, 100, 2) == pytest.approx(computed + 2 * (2e-4 + 48 * 6e-5), rel=1e-12)


def test_known_costs_come_back_and_predict_mixes_of_unseen_shapes() -> None:
    fit = fit_speed([sample(w) for w in works()])
    for got, true in ((fit.costs.layer_s, TRUE.layer_s), (fit.costs.init_byte_s, TRUE.init_byte_s)):
        assert got == pytest.approx(true, rel=0.03)
    for name, true in TRUE.type_byte_s.items():
        assert fit.costs.type_byte_s[name] == pytest.approx(true, rel=0.03)
    assert fit.costs.activation_element_s == pytest.approx(TRUE.activation_element_s, rel=0.1)
    for format_name in ("Q4_K_M", "Q8_0"):
        unseen = mixed(format_name, layers=14, width=768, mlp=2048, kv_heads=4)
        assert fit.costs.decode_s(unseen, 0) == pytest.approx(TRUE.decode_s(unseen, 0), rel=0.03)
        assert fit.costs.prefill_s(unseen, 100) == pytest.approx(TRUE.prefill_s(unseen, 100), rel=0.03)
    for errors in (fit.decode_errors, fit.prefill_errors):
        assert median_error(errors.values()) == pytest.approx(0, abs=0.02)
    assert fit.decode_factor < 1.1


def test_noise_shows_in_the_held_out_error_and_the_range() -> None:
    draw = random.Random(1)
    errors, factors = [], []
    for sd in (0.02, 0.15):
        fit = fit_speed([sample(w, noise=lambda sd=sd: exp(draw.gauss(0, sd))) for w in works()])  # type: ignore[misc]
        errors.append(median_error(fit.decode_errors.values()))
        factors.append(fit.decode_factor)
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
    costs = fit.costs
    prior = profiles().seconds_per_layer["llama.cpp", "cpu"]
    assert 0.3 * prior < costs.layer_s < 1.5 * prior
    assert 5e9 < 1 / costs.byte_s < 20e9
    assert all(0.5 < cost / costs.byte_s < 2 for cost in costs.type_byte_s.values())
    assert costs.activation_element_s == pytest.approx(0)  # one prompt cannot tell it from operations
    assert fit.decode_errors == {}
    assert fit.decode_factor == profiles().cpu.decode_factor


def test_without_prefill_or_start_up_there_are_no_such_costs() -> None:
    plain = [Sample(model=w, decode_s=TRUE.decode_s(w)) for w in works()]
    costs = fit_speed(plain).costs
    assert costs.op_s is None
    assert costs.init_s is None


def test_no_decode_speed_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no decode speed"):
        fit_speed([Sample(model=works()[0], prompt_tokens=128, prefill_s=0.1)])


def test_prompts_longer_than_a_micro_batch_run_the_layers_again() -> None:
    work = works()[0]
    one = Sample(model=work, prompt_tokens=512, prefill_s=1.0)
    two = Sample(model=work, prompt_tokens=513, prefill_s=1.0)
    assert (one.batches, two.batches) == (1, 2)
    extra = TRUE.prefill_s(work, 512, 2) - TRUE.prefill_s(work, 512, 1)
    assert extra == pytest.approx(TRUE.fixed_s + 48 * TRUE.layer_s)


@settings(max_examples=50)
@given(
    st.lists(st.floats(0, 10), min_size=3, max_size=3),
    st.lists(st.lists(st.floats(0.1, 10), min_size=3, max_size=3), min_size=3, max_size=8),
)
def test_least_squares_agree_with_numpy_where_no_bound_holds(
    coefficients: list[float], rows: list[list[float]]
) -> None:
    import numpy as np

    matrix = np.array(rows)
    if np.linalg.cond(matrix) > 30:
        return
    targets = matrix @ np.array(coefficients)
    assert nonnegative_least_squares(rows, targets.tolist()) == pytest.approx(coefficients, abs=1e-4)


def test_least_squares_never_go_below_zero() -> None:
    # unconstrained: (2, -1)
    assert nonnegative_least_squares([[1, 1], [1, 0]], [1, 2]) == pytest.approx([1.5, 0])


def test_every_shape_of_the_plan_is_held_out() -> None:
    fit = fit_speed([sample(w) for w in works()])
    assert {label.split("-")[0] for label in fit.decode_errors} == set(SHAPES)
    assert fit.shapes == len(SHAPES)
