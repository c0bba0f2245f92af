"""The estimate of a searched model as it would be deployed: the trial's candidate, taken to bytes again."""

from __future__ import annotations

from dataclasses import replace

from search.space.deployed import deployed_estimate as estimate_candidate
from search.store.results import SearchResult, TrialRecord
from sizer.estimate import Estimate


def deployed_estimate(result: SearchResult, record: TrialRecord) -> Estimate:
    """Bytes, memory and speed by part of one trial's model, on the study's runtime and device.

    Says so among the assumptions when the figures are not the ones the trial recorded: the study was then
    made with another version of the calculator.
    """
    sized = estimate_candidate(
        record.candidate,
        runtime=result.runtime,
        device=result.device,
        context_tokens=int(result.settings["context_tokens"]),
        assumptions=(f"trial {record.number} of study {result.study}",),
    )
    changes = tuple(
        f"the study recorded {recorded:,} {name}, this version of the calculator says {now:,}"
        for name, recorded, now in (
            ("file bytes", record.file_bytes, sized.file.total),
            ("memory bytes", record.memory_bytes, sized.memory.total_bytes),
        )
        if recorded != now
    )
    return replace(sized, assumptions=(*changes, *sized.assumptions))
