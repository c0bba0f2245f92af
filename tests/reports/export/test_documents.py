"""The frontier document: the contract's keys, sums by hand, agreement with the estimate document."""

from __future__ import annotations

import json
from collections.abc import Callable

from reports.export.documents import frontier_document
from search.analysis.frontier import frontier
from search.store.results import SearchResult, bits_per_byte

# the command line's contract
KEYS = {"schema", "objectives", "points", "trained_tokens", "wall_s"}
POINT_KEYS = {
    "trial",
    "architecture",
    "format",
    "file_bytes",
    "decode_tokens_per_s",
    "val_bits_per_byte",
    "val_bits_per_byte_sd",
    "seeds",
    "steps",
}


def test_keys_of_the_contract(result: SearchResult) -> None:
    document = frontier_document(result)
    assert document["schema"] == "sizer.frontier/1"
    assert set(document) >= KEYS
    assert all(set(point) >= POINT_KEYS for point in document["points"])
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_objectives_are_those_of_the_frontier(result: SearchResult) -> None:
    document = frontier_document(result)
    for point, record in zip(document["points"], frontier(result), strict=True):
        values = tuple(point[name] for name in document["objectives"])
        assert values == (record.file_bytes, bits_per_byte(record))


def test_sums_count_every_training_once(result: SearchResult) -> None:
    # 11 trained for 1,000 steps of 8 x 128 tokens in 41.5 s; one diverged after 180; the repeat added nothing
    document = frontier_document(result)
    assert document["trained_tokens"] == 11 * 1_024_000 + 184_320 == 11_448_320
    assert abs(document["wall_s"] - (11 * 41.5 + 41.5 * 0.18)) < 1e-9


def test_points_in_order_of_size(result: SearchResult) -> None:
    points = frontier_document(result)["points"]
    sizes = [point["file_bytes"] for point in points]
    assert sizes == sorted(sizes)
    assert [point["trial"] for point in points] == [12, 0, 1, 4, 5, 8, 10]


def test_no_device_no_speed(result_of: Callable[..., SearchResult]) -> None:
    (point,) = frontier_document(result_of(None, (0,)))["points"]
    assert point["decode_tokens_per_s"] is None
    assert point["decode_basis"] is None


def test_an_empty_study(result_of: Callable[..., SearchResult]) -> None:
    document = frontier_document(result_of("raspberry-pi-5", ()))
    assert (document["points"], document["trained_tokens"], document["wall_s"]) == ([], 0, 0)
