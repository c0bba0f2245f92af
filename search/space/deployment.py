"""A candidate as it is deployed: figures on every device of the budget, and limits it breaks there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from search.config.config import SearchConfig
from search.store.results import Candidate, DeviceFigures, ProxyResult, TrialRecord
from sizer.architecture import Architecture
from sizer.budget import Limits
from sizer.download import tokenizer_apart_bytes
from sizer.model_estimate import Estimate
from sizer.prediction import Prediction
from sizer.units import format_bytes


def deployments(candidate: Candidate, config: SearchConfig) -> tuple[Estimate, ...]:
    """Estimate a candidate on each device of the budget, in its order."""
    return tuple(
        candidate.deployment(
            runtime=config.budget.runtime,
            device=device,
            context_tokens=config.budget.context_tokens,
            tokenizer_bytes=config.budget.tokenizer_bytes,
        )
        for device in config.budget.devices
    )


def violations(estimates: Sequence[Estimate], config: SearchConfig) -> tuple[str, ...]:
    """Return one text for each limit that a candidate breaks, on any device; empty if all hold on all."""
    first, budget = estimates[0], config.budget
    found = []
    size = first.file.total + tokenizer_apart_bytes(first.file, first.architecture.vocab_size)
    if size > budget.max_size_bytes:
        found.append(f"file {format_bytes(size)} > {format_bytes(budget.max_size_bytes)}")
    for device, one in zip(budget.devices, estimates, strict=True):
        where = f" on {device}" if len(estimates) > 1 else ""
        found += [text + where for text in _on_device(one, config)]
    return tuple(found)


def _on_device(one: Estimate, config: SearchConfig) -> tuple[str, ...]:
    """Return the limits broken on one device, and objectives that are not known there."""
    limits = Limits(
        max_memory_bytes=config.budget.max_memory_bytes,
        min_decode_tokens_per_s=config.budget.min_decode_tokens_per_s,
    )
    missing = [
        f"{objective.label}: not known"
        for objective in config.objectives
        if objective.needs_device and _figures(one).cost(objective) is None
    ]
    return (*limits.violations(one), *missing)


def trial_record(
    number: int,
    candidate: Candidate,
    estimates: Sequence[Estimate],
    config: SearchConfig,
    *,
    proxy: ProxyResult | None = None,
    broken: tuple[str, ...] = (),
    repeats: int | None = None,
    scaled: Architecture | None = None,
) -> TrialRecord:
    """Return the record of a trial; of several devices its own figures are the worst, and each is kept."""
    first, figures = estimates[0], [_figures(one) for one in estimates]
    download = first.first_download
    several = len(estimates) > 1
    return TrialRecord(
        number=number,
        candidate=candidate,
        num_parameters=first.parameters.total,
        file_bytes=first.file.total,
        memory_bytes=max(one.memory_bytes for one in figures),
        decode_tokens_per_s=_lowest(one.decode_tokens_per_s for one in figures),
        proxy=proxy,
        violations=broken,
        repeats=repeats,
        scaled=scaled,
        separate_tokenizer_bytes=tokenizer_apart_bytes(first.file, first.architecture.vocab_size),
        download_bytes=None if download is None else download.num_bytes,
        time_to_first_token_s=_highest(one.time_to_first_token_s for one in figures),
        joules_per_token=_highest(one.joules_per_token for one in figures),
        devices=tuple(
            replace(one, device=name or "", violations=_on_device(estimate, config))
            for name, one, estimate in zip(config.budget.devices, figures, estimates, strict=True)
        )
        if several
        else (),
    )


def _figures(one: Estimate) -> DeviceFigures:
    return DeviceFigures(
        device=one.device.name if one.device is not None else "",
        memory_bytes=one.memory.total_bytes,
        decode_tokens_per_s=one.latency.decode_tokens_per_s if one.latency else None,
        time_to_first_token_s=one.latency.time_to_first_token_s if one.latency else None,
        joules_per_token=one.energy,
    )


def _lowest(values: Iterable[Prediction | None]) -> Prediction | None:
    """Return the lowest prediction; None where one is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return min(known, key=lambda p: p.value) if len(known) == len(found) else None


def _highest(values: Iterable[Prediction | None]) -> Prediction | None:
    """Return the highest prediction; None where one is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return max(known, key=lambda p: p.value) if len(known) == len(found) else None
