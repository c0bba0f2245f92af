"""Which way of training a step is chosen here."""

from __future__ import annotations

import pytest

from search.proxy.stepper import choose_engine

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_way_to_train_is_measured_and_kept() -> None:
    timing = choose_engine()
    assert timing is choose_engine()
    assert {"eager bf16", "eager fp32"} <= set(timing.step_s)
    assert timing.step_s[timing.fastest] == min(timing.step_s.values())
    assert timing.fastest == f"{'fused' if timing.fused else 'eager'} {timing.precision.value}"
    assert 0 < timing.step_s[timing.fastest] < 5
