"""Trial records survive JSON; what is not one of ours is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from search.store.records import record_from_json, record_to_json
from search.store.results import DeviceFigures, TrialRecord, TrialStatus
from sizer.architecture import LayerSharing, SharingStrategy
from sizer.errors import InvalidFile
from tests.search.records import TINY, proxy, record

SHARED = replace(
    record(),
    candidate=replace(
        record().candidate,
        architecture=replace(TINY, sharing=LayerSharing(strategy=SharingStrategy.REVERSE, repeat=2)),
    ),
)


LOOPED = replace(
    record(),
    candidate=replace(
        record().candidate,
        architecture=replace(
            TINY, num_layers=3, sharing=LayerSharing(strategy=SharingStrategy.MIDDLE, repeat=2, ends=1)
        ),
    ),
)


GROWN = replace(
    record(),
    candidate=replace(
        record().candidate,
        architecture=replace(TINY, num_layers=2, intermediate_size=96, layer_intermediate_sizes=(32, 96)),
    ),
)


WINDOWED = replace(
    record(),
    candidate=replace(
        record().candidate,
        architecture=replace(
            TINY, num_layers=2, attention_sinks=True, sliding_window=16, sliding_layers=(0,), qk_norm=False
        ),
    ),
)


CONVOLVED = replace(
    record(),
    candidate=replace(
        record().candidate,
        architecture=replace(TINY, num_layers=3, qk_norm=True, conv_layers=(0, 1), conv_kernel=4),
    ),
)


MIXED = replace(
    record(),
    candidate=replace(
        record().candidate, architecture=replace(TINY, num_experts=4, num_experts_per_tok=2, qk_norm=False)
    ),
)


@pytest.mark.parametrize(
    "stored",
    [
        record(),
        MIXED,
        WINDOWED,
        CONVOLVED,
        GROWN,
        LOOPED,
        SHARED,
        replace(record(), proxy=None, violations=("file 3 MB > 2 MB",)),
        replace(record(), proxy=proxy(status=TrialStatus.DIVERGED)),
        replace(record(), decode_tokens_per_s=None, repeats=3),
        replace(
            record(),
            candidate=replace(record().candidate, cache_type="Q8_0"),
            separate_tokenizer_bytes=70,
            download_bytes=8_000_000,
            joules_per_token=record().decode_tokens_per_s,
            devices=(
                DeviceFigures(
                    device="pixel-8",
                    memory_bytes=5,
                    decode_tokens_per_s=record().decode_tokens_per_s,
                    time_to_first_token_s=None,
                    joules_per_token=record().decode_tokens_per_s,
                    violations=("memory",),
                ),
            ),
        ),
        replace(record(), scaled=replace(TINY, name="2x64 at width 32", hidden_size=32)),
    ],
)
def test_there_and_back(stored: TrialRecord) -> None:
    back = record_from_json(record_to_json(stored))
    assert back == stored
    assert back.candidate.architecture.name == stored.candidate.architecture.name
    assert back.trained_architecture.name == stored.trained_architecture.name


def test_a_record_of_before_there_were_proxies_is_of_the_candidate() -> None:
    values = json.loads(record_to_json(record()))
    del values["scaled"]
    assert record_from_json(json.dumps(values)).trained_architecture == TINY


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"schema": "other/1"}', record_to_json(record())[:-40]]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidFile, match="trial record: "):
        record_from_json(text)


def test_status() -> None:
    assert record().status is TrialStatus.COMPLETE
    assert replace(record(), violations=("too slow",)).status is TrialStatus.INFEASIBLE
    assert replace(record(), proxy=proxy(status=TrialStatus.DIVERGED)).status is TrialStatus.DIVERGED
    assert replace(record(), proxy=None).status is TrialStatus.FAILED
