"""From a deployed budget to shapes: the deepest model of each width that file, memory and speed allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sizer.architecture import MAX_LAYERS, Architecture
from sizer.budget import Limits
from sizer.devices.device import Device
from sizer.errors import InvalidQuantity, NoFit
from sizer.model_estimate import Estimate, estimate
from sizer.shapes.near_count import groups_well, llama_shape, shape_widths
from sizer.workload import Workload

# hidden_size / num_layers of what people train: MobileLLM 19 to 30, GPT-2 small 64, Pythia-1B 128.
_THINNEST, _WIDEST = 8.0, 128.0

# Without a size limit a large memory would be filled with shapes nobody trains on this question's devices.
_MAX_WIDTH = 8192


def fill(
    budget: Limits,
    *,
    format: str,
    runtime: str = "llama.cpp",
    device: Device | None = None,
    workload: Workload | None = None,
    vocab_size: int = 32000,
    tie_embeddings: bool = True,
) -> tuple[Estimate, ...]:
    """Find the deepest model of each hidden size within the budget, most parameters first.

    Shapes are those of `solve.architecture_near`. More layers of one width mean more bytes, more memory and
    less speed, so the depth is found by halving. Raises InvalidQuantity without any limit, and NoFit, naming
    what the smallest model breaks, when nothing fits.
    """
    if budget == Limits() and device is None:
        raise InvalidQuantity(
            "budget: give --max-size, --max-memory or a --device, there is no limit to fill"
        )

    def size(architecture: Architecture) -> Estimate:
        return estimate(
            architecture=architecture, format=format, runtime=runtime, device=device, workload=workload
        )

    found: list[Estimate] = []
    smallest: Estimate | None = None
    for one in _shapes(vocab_size, tie_embeddings):
        shallowest = max(1, round(one.hidden_size / _WIDEST))
        least = size(replace(one, num_layers=shallowest))
        smallest = smallest or least
        if budget.violations(least):
            if found:
                break  # a wider model of the least depth is larger and slower still
            continue
        deepest = min(MAX_LAYERS, int(one.hidden_size / _THINNEST))
        found.append(_deepest(least, deepest, budget, size))
    if not found:
        assert smallest is not None, "there is a narrowest shape"
        raise NoFit(
            f"budget: no shape fits; the smallest breaks it: {'; '.join(budget.violations(smallest))}"
        )
    return tuple(sorted(found, key=lambda sized: -sized.parameters.total))


def _shapes(vocab_size: int, tie_embeddings: bool) -> Iterator[Architecture]:
    for width in shape_widths():
        if width > _MAX_WIDTH:
            return
        one = llama_shape(width, vocab_size, tie_embeddings)
        if groups_well(one):
            yield one


def _deepest(
    least: Estimate, deepest: int, budget: Limits, size: Callable[[Architecture], Estimate]
) -> Estimate:
    """Return the model of a hidden size with the most layers, up to `deepest`, within the budget."""
    best, low, high = least, least.architecture.num_layers, max(deepest, least.architecture.num_layers)
    while low < high:
        middle = (low + high + 1) // 2
        tried = size(replace(least.architecture, num_layers=middle))
        if budget.violations(tried):
            high = middle - 1
        else:
            best, low = tried, middle
    return best
