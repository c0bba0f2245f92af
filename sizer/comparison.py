"""Models against devices: an estimate of each pair, and the document of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sizer.architecture import Architecture
from sizer.devices.device import Device
from sizer.errors import InvalidQuantity
from sizer.model_estimate import Estimate, estimate
from sizer.runtimes import runtime as runtime_by_name
from sizer.workload import Workload

SCHEMA = "sizer.compare/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Estimates `rows[model][device]`; without a device every row has one estimate. Made by `compare`."""

    rows: tuple[tuple[Estimate, ...], ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order of the rows."""
        return tuple(row[0].name for row in self.rows)

    @property
    def devices(self) -> tuple[str | None, ...]:
        """Names of the devices, in the order of every row; None stands for no device."""
        return tuple(cell.device.name if cell.device else None for cell in self.rows[0])

    @property
    def fits(self) -> tuple[tuple[bool | None, ...], ...]:
        """True if each model fits each device; None where its memory is not known, False if it cannot run."""
        return tuple(tuple(cell.fits for cell in row) for row in self.rows)

    @property
    def runs_on(self) -> tuple[int, ...]:
        """Return, for each model, on how many of the devices it fits and has a speed."""
        return tuple(
            sum(cell.fits is not False and cell.latency is not None for cell in row) for row in self.rows
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all estimates as plain JSON values, in the layout of schema sizer.compare/1."""
        return {
            "schema": SCHEMA,
            "models": list(self.models),
            "devices": list(self.devices),
            "fits": [list(row) for row in self.fits],
            "runs_on": list(self.runs_on),
            "estimates": [cell.to_dict() for row in self.rows for cell in row],
        }


def compare(
    models: Sequence[Architecture],
    devices: Sequence[Device],
    *,
    format: str,
    runtime: str = "llama.cpp",
    context_tokens: int = 2048,
) -> Comparison:
    """Estimate every model on every device (on none where none is given), with the usual prompt and answer.

    Raises what `estimate` raises, and InvalidQuantity without a model.
    """
    if not models:
        raise InvalidQuantity("models: name at least one")
    workload = Workload.within(context_tokens, runtime_by_name(runtime).cache_types[0])
    targets: Sequence[Device | None] = devices or (None,)
    return Comparison(
        rows=tuple(
            tuple(
                estimate(architecture=model, format=format, runtime=runtime, workload=workload, device=target)
                for target in targets
            )
            for model in models
        )
    )
