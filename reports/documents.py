"""Results as JSON documents with a schema name; light, so that the command line's --json starts fast."""

from __future__ import annotations

from typing import Any

from reports.proxies import proxies_document, proxy_document
from search.law.pareto import frontier
from search.law.scores import RankedBy, carried, ranking
from search.store.results import SearchResult, TrialRecord

FRONTIER_SCHEMA = "sizer.frontier/1"

# Keys of a point, both minimised: those of a study that trained its models themselves.
OBJECTIVES = ("file_bytes", RankedBy.TRAINED.value)


def frontier_document(result: SearchResult) -> dict[str, Any]:
    """The frontier of a study as plain JSON values, in the layout of schema sizer.frontier/1.

    `objectives` name the score that ranks: for scaled proxies that could be carried over the models' own,
    whose range stands in the point beside what the proxy scored. `trained_tokens` and `wall_s` are sums over
    every trial that was trained, diverged ones included.
    """
    # a repeated candidate carries the score of an earlier trial: nothing was trained for it
    trained = [r.proxy for r in result.records if r.proxy is not None and r.repeats is None]
    found, objectives = carried(result), [OBJECTIVES[0], ranking(result).by.value]
    return {
        "schema": FRONTIER_SCHEMA,
        "study": result.study,
        "device": result.device,
        "runtime": result.runtime,
        "budget": dict(result.budget),
        "objectives": objectives,
        "directions": ["minimize"] * len(objectives),
        "proxies": proxies_document(result, found),
        "points": [_point(r) | proxy_document(r, result.runtime, found) for r in frontier(result)],
        "trained_tokens": sum(proxy.trained_tokens for proxy in trained),
        "wall_s": sum(proxy.wall_s for proxy in trained),
    }


def _point(record: TrialRecord) -> dict[str, Any]:
    proxy, decode = record.proxy, record.decode_tokens_per_s
    assert proxy is not None, f"trial {record.number} is on the frontier without having been trained"
    return {
        "trial": record.number,
        "architecture": record.candidate.architecture.to_dict(),
        "format": record.candidate.format,
        "num_parameters": record.num_parameters,
        "file_bytes": record.file_bytes,
        "memory_bytes": record.memory_bytes,
        "decode_tokens_per_s": decode.value if decode else None,
        "decode_tokens_per_s_low": decode.low if decode else None,
        "decode_tokens_per_s_high": decode.high if decode else None,
        "decode_basis": decode.basis.value if decode else None,
        "val_bits_per_byte": proxy.val_bits_per_byte,
        "val_bits_per_byte_sd": proxy.val_bits_per_byte_sd,
        "seeds": proxy.seeds,
        "seed": proxy.seed,
        "steps": proxy.steps,
    }
