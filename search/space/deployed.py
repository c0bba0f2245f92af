"""A candidate as it would be deployed: the calculator's word on bytes, memory and speed."""

from __future__ import annotations

from search.store.results import Candidate
from sizer.device import device as device_by_name
from sizer.estimate import Estimate, estimate
from sizer.runtimes import runtime as runtime_by_name
from sizer.workload import Workload


def deployed_estimate(
    candidate: Candidate,
    *,
    runtime: str,
    device: str | None,
    context_tokens: int,
    assumptions: tuple[str, ...] = (),
) -> Estimate:
    """Estimate of a candidate on a study's runtime and device, for one user's prompt and answer."""
    return estimate(
        architecture=candidate.architecture,
        format=candidate.format,
        runtime=runtime,
        workload=Workload.within(context_tokens, runtime_by_name(runtime).cache_types[0]),
        device=device_by_name(device) if device else None,
        assumptions=assumptions,
    )
