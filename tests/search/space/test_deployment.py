"""Budgets on several devices, objectives of each, and what a record keeps of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.config.config import SearchConfig
from search.config.objectives import Objective
from search.space.deployment import deployments, trial_record, violations
from search.store.results import Candidate
from tests.search.records import TINY

SLOW, FAST = "raspberry-pi-4", "raspberry-pi-5"
CONFIG = SearchConfig.build(device=SLOW, other_devices=(FAST,), objectives=("decode", "energy", "memory"))
CANDIDATE = Candidate(architecture=replace(TINY, num_layers=8), format="Q4_0")


def test_a_records_own_figures_are_those_of_the_worst_device() -> None:
    for config in (CONFIG, CONFIG.changed(device=FAST, other_devices=(SLOW,))):
        estimates = deployments(CANDIDATE, config)
        record = trial_record(3, CANDIDATE, estimates, config)
        assert [one.device for one in record.devices] == list(config.budget.devices)
        by_name = {one.device: one for one in record.devices}
        slow, fast = by_name[SLOW], by_name[FAST]
        speeds = (slow.cost(Objective.DECODE), fast.cost(Objective.DECODE))
        assert speeds[0] is not None
        assert speeds[1] is not None
        assert speeds[0] < speeds[1]
        assert record.cost(Objective.DECODE) == speeds[0]
        joules = [one.cost(Objective.ENERGY) or 0.0 for one in record.devices]
        assert record.cost(Objective.ENERGY) == max(joules)
        assert record.costs((Objective.DECODE,)) == (1 / speeds[0],)


def test_a_limit_holds_on_every_device() -> None:
    slow, fast = (one.latency for one in deployments(CANDIDATE, CONFIG))
    assert slow is not None
    assert fast is not None
    between = (slow.decode_tokens_per_s.value * fast.decode_tokens_per_s.value) ** 0.5
    config = CONFIG.changed(min_decode_tokens_per_s=between)
    estimates = deployments(CANDIDATE, config)
    (text,) = violations(estimates, config)
    assert text.startswith("decode ")
    assert text.endswith(f" on {SLOW}")
    record = trial_record(0, CANDIDATE, estimates, config)
    assert [bool(one.violations) for one in record.devices] == [True, False]
    assert not violations(deployments(CANDIDATE, CONFIG), CONFIG)


@pytest.mark.parametrize("runtime", ["llama.cpp", "executorch"])
def test_a_tokenizer_counts_in_its_file_or_apart_from_it(runtime: str) -> None:
    small, large = (
        trial_record(0, one, deployments(one, config), config)
        for config in [SearchConfig.build(runtime=runtime, max_size_bytes=10**8)]
        for one in (
            replace(CANDIDATE, architecture=replace(TINY, vocab_size=rows), format=config.space.formats[-1])
            for rows in (512, 8192)
        )
    )
    assert (small.separate_tokenizer_bytes == 0) == (runtime == "llama.cpp")
    rows = (8192 - 512) * TINY.hidden_size
    assert (large.cost(Objective.BYTES) or 0) - (small.cost(Objective.BYTES) or 0) > 2 * rows
    assert large.separate_tokenizer_bytes - small.separate_tokenizer_bytes == pytest.approx(
        0
        if runtime == "llama.cpp"
        else (large.download_bytes or 0) - (small.download_bytes or 0) - (large.file_bytes - small.file_bytes)
    )


def test_a_cache_type_changes_the_memory_of_a_model() -> None:
    plain, small = (
        trial_record(0, one, deployments(one, CONFIG), CONFIG)
        for one in (CANDIDATE, replace(CANDIDATE, cache_type="Q8_0"))
    )
    elements = 2 * 8 * TINY.kv_width * CONFIG.budget.context_tokens
    assert plain.memory_bytes - small.memory_bytes == pytest.approx(elements * (2 - 34 / 32), rel=0.05)
    assert small.candidate.describe().endswith(", Q8_0 cache")
