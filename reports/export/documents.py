"""Results as JSON documents; light, so that the command line's --json starts fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.text.rungs import reasons
from reports.text.scaled_proxies import deviation_texts, extrapolated_front, proxies_front, proxy_split_blocks
from search.analysis.common_model import common_model
from search.analysis.frontier import frontier
from search.analysis.ranking import are_scaled, extrapolation_of, ranking
from search.config.objectives import Objective
from search.store.results import DeviceFigures, SearchResult, TrialRecord

if TYPE_CHECKING:
    from search.analysis.extrapolation import Extrapolation
    from search.analysis.reliability import RungTrust
    from search.analysis.rung_history import Rung

FRONTIER_SCHEMA = "sizer.frontier/1"


def frontier_document(result: SearchResult) -> dict[str, Any]:
    """Return the frontier of a study as plain JSON values, in the layout of schema sizer.frontier/1.

    `objectives` name the score that ranks: for scaled proxies that is the extrapolated score
    where there is one; its range stands in the point next to what the proxy scored. `trained_tokens` and
    `wall_s` are sums over every trial that was trained, diverged ones included.
    """
    # a repeated candidate carries the score of an earlier trial: nothing was trained for it
    trained = [r.proxy for r in result.records if r.proxy is not None and r.repeats is None]
    found = extrapolation_of(result)
    return {
        "schema": FRONTIER_SCHEMA,
        "study": result.study,
        "device": result.device,
        "devices": list(result.devices),
        "runtime": result.runtime,
        "budget": dict(result.budget),
        "objectives": [*(cost.key for cost in result.objectives), ranking(result).by.value],
        "directions": [*(_direction(cost) for cost in result.objectives), "minimize"],
        "common_model": _common(result),
        "proxies": proxies_document(result, found),
        "points": [_point(r) | proxy_document(r, result.runtime, found) for r in frontier(result)],
        "trained_tokens": sum(proxy.trained_tokens for proxy in trained),
        "wall_s": sum(proxy.wall_s for proxy in trained),
    }


def _common(result: SearchResult) -> dict[str, Any] | None:
    found = common_model(result)
    if found is None:
        return None
    return {"trial": found.trial, "devices": [choice._asdict() for choice in found.choices]}


def _direction(cost: Objective) -> str:
    return "maximize" if cost.maximised else "minimize"


def _point(record: TrialRecord) -> dict[str, Any]:
    proxy, decode = record.proxy, record.decode_tokens_per_s
    assert proxy is not None, f"trial {record.number} is on the frontier without having been trained"
    return {
        "trial": record.number,
        "architecture": record.candidate.architecture.to_dict(),
        "format": record.candidate.format,
        "cache_type": record.candidate.cache_type,
        "num_parameters": record.num_parameters,
        "file_bytes": record.file_bytes,
        "separate_tokenizer_bytes": record.separate_tokenizer_bytes,
        "download_bytes": record.download_bytes,
        "memory_bytes": record.memory_bytes,
        "time_to_first_token_s": record.cost(Objective.TTFT),
        "joules_per_token": record.cost(Objective.ENERGY),
        "devices": [_on_device(one) for one in record.devices],
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


def _on_device(one: DeviceFigures) -> dict[str, Any]:
    costs = (Objective.MEMORY, Objective.DECODE, Objective.TTFT, Objective.ENERGY)
    return {"device": one.device, **{cost.key: one.cost(cost) for cost in costs}}


def trust_document(
    result: SearchResult, reports: Sequence[RungTrust], control: SearchResult | None
) -> dict[str, Any]:
    """Return what `sizer search trust --json` prints: the comparison that decides, and all of them."""
    # these load rich and the reliability measures, which a frontier does without
    from reports.text.trust import NO_TRUST, trained_tokens
    from search.analysis.reliability import SCHEMA, chosen, control_hypervolumes

    best = chosen(reports)
    main: dict[str, Any] = {
        "schema": SCHEMA,
        "pairs": 0,
        "kendall": None,
        "spearman": None,
        "tau_10pct": {"value": None, "low": None, "high": None},
        "baselines": {},
        "verdict": NO_TRUST,
    }
    if best is not None:
        main = best.to_dict()
    document = {**main, "study": result.study, "rungs": [report.to_dict() for report in reports]}
    if are_scaled(result):
        document["ranked_by"] = ranking(result).by.value  # all of the document is of what was trained
    if control is not None:
        ours, theirs = control_hypervolumes(result, control)
        document["control"] = {
            "study": control.study,
            "hypervolume": ours,
            "hypervolume_of_control": theirs,
            "trained_tokens": trained_tokens(result),
            "trained_tokens_of_control": trained_tokens(control),
        }
    return document


def rung_document(history: Sequence[Rung]) -> list[dict[str, Any]]:
    """Return rungs as plain JSON values."""
    return [
        {
            "rung": rung.number,
            "steps": rung.steps,
            "models": len(rung.outcomes),
            "scored": rung.scored,
            "open": rung.open,
            "went_on": list(rung.promoted_trials),
            "reasons": {why: list(numbers) for why, numbers in reasons(rung).items()},
        }
        for rung in history
    ]


def proxies_document(result: SearchResult, found: Extrapolation | None) -> dict[str, Any] | None:
    """Return how proxies were scaled, which score ranks and what its law was fitted to; None without proxies.

    Both frontiers are listed by trial, that of the proxies' own scores and that of extrapolated scores.
    """
    if not are_scaled(result):
        return None
    law = None
    if found is not None:
        law = {
            "steps": found.steps,
            "fitted_steps": found.fitted_steps,
            "proxies": found.proxies,
            "kendall": found.agreement,
            "frontier": list(extrapolated_front(result, found)),
        }
    names = ("width_scale", "vocab_size")
    return {
        **{name: result.settings.get(f"proxy_{name}") for name in names},
        "ranked_by": ranking(result).by.value,
        "frontier": list(proxies_front(result)),
        "carried_over": law,
    }


def proxy_document(record: TrialRecord, runtime: str, found: Extrapolation | None) -> dict[str, Any]:
    """Return keys of a frontier point: the proxy that was trained, and the model's extrapolated score."""
    prediction = None if found is None else found.predictions.get(record.number)
    return {
        "proxy": _trained_document(record, runtime),
        "model_val_bits_per_byte": None
        if prediction is None
        else {"value": prediction.value, "low": prediction.low, "high": prediction.high},
    }


def _trained_document(record: TrialRecord, runtime: str) -> dict[str, Any] | None:
    if record.scaled is None:
        return None
    assert record.proxy is not None, record.number
    return {
        **record.scaled.to_dict(),
        "num_parameters": record.proxy.num_parameters,
        "deviations": list(deviation_texts(record)),
        "split_blocks": list(proxy_split_blocks(record, runtime)),
    }
