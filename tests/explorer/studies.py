"""Studies in a real storage without a search: records written as a search writes them."""

from __future__ import annotations

from dataclasses import replace

from search.config.config import SearchConfig
from search.space.initial_points import initial_points
from search.store.results import SearchResult
from search.store.study import create_study

CONFIG = SearchConfig.build(trials=12, max_size_bytes=6_000_000, min_decode_tokens_per_s=200.0)


def store(
    result: SearchResult,
    storage: str,
    name: str | None = None,
    *,
    sampler: str = "law",
    trials: int = CONFIG.training.trials,
) -> None:
    """Write a study's records into a storage, under its own or another name."""
    study = create_study(
        CONFIG.changed(trials=trials),
        name=name or result.study,
        storage=storage,
        settings={**result.settings, "sampler": sampler, "rungs": "1000"},
        corpus={"name": result.corpus, "digest": result.corpus_digest},
    )
    point = initial_points(CONFIG)[0]
    for number, record in enumerate(sorted(result.records, key=lambda r: r.number)):
        assert number == record.number, "trials are numbered in the order they start"
        study.begin(point)
        study.tell(replace(record, runs=()))
    assert [r.number for r in study.result().records] == list(range(len(result.records)))
    first, expected = study.result().records[0].candidate, result.records[0].candidate
    assert first == expected
    assert first.describe() == expected.describe()
