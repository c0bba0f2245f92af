"""Successive halving for a front: promotion to longer training by non-domination inside size bins.

Halving by loss alone keeps the large models; halving by non-domination over all sizes lets a crowded region
push out a sparse one. So sizes are cut into bins of equal width on a logarithmic scale, each bin sends on its
share, and inside a bin models go by layers of non-domination (as in MOASHA, arXiv 2106.12639). Early losses
underrate deep, thin models: the first rung keeps the deepest and the shallowest of every bin, whatever
they scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from math import ceil, isfinite, log

from search.stats.hypervolume import Point, exclusive, hypervolume, reference_point
from search.stats.pareto import front
from sizer.errors import InvalidQuantity


@dataclass(frozen=True, slots=True, kw_only=True)
class RungEntry:
    """A model as it stands at a rung; a diverged one has a loss that is not finite and is never promoted."""

    id: int
    costs: tuple[float, ...]  # positive, less is better; sizes are bins of the first
    depth: int  # layers executed
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RungSettings:
    """One in `eta` is promoted from each of `bins` bins of size."""

    eta: float = 3.0
    bins: int = 4

    def __post_init__(self) -> None:
        if not (isfinite(self.eta) and self.eta > 1):
            raise InvalidQuantity(f"eta: must be a number above 1, got {self.eta!r}")
        if self.bins < 1:
            raise InvalidQuantity(f"bins: must be a whole number of 1 or more, got {self.bins!r}")


@unique
class Promotion(StrEnum):
    """What becomes of a model at a rung, and why."""

    BEST = "best of its size"
    DEEPEST = "deepest of its size"
    SHALLOWEST = "shallowest of its size"
    AUDIT = "one of a pair of one size"
    BEATEN = "beaten at its size"
    NO_SCORE = "no score"

    @property
    def promoted(self) -> bool:
        """True if the model trains on."""
        return self in (Promotion.BEST, Promotion.DEEPEST, Promotion.SHALLOWEST, Promotion.AUDIT)


def rung_lengths(steps: int, *, eta: float = 3.0, rungs: int = 3, lowest: int = 1) -> tuple[int, ...]:
    """Return the training steps of each rung, longest last; rungs below `lowest` steps are left out.

    >>> rung_lengths(9000), rung_lengths(9000, lowest=2000), rung_lengths(500, lowest=1000)
    ((1000, 3000, 9000), (3000, 9000), (500,))
    """
    if steps < 1:
        raise InvalidQuantity(f"steps: must be a whole number of 1 or more, got {steps!r}")
    shorter = (round(steps / eta**power) for power in range(rungs - 1, 0, -1))
    return (*sorted({rung for rung in shorter if lowest <= rung < steps and rung >= 1}), steps)


def size_bins(entries: Sequence[RungEntry], bins: int) -> tuple[tuple[RungEntry, ...], ...]:
    """Sort entries into bins of equal width in the log of the first cost, smallest first; none is empty."""
    if not entries:
        return ()
    sizes = [log(entry.costs[0]) for entry in entries]
    low, width = min(sizes), (max(sizes) - min(sizes)) / bins
    places = [min(int((size - low) / width), bins - 1) if width > 0 else 0 for size in sizes]
    found = (tuple(e for e, p in zip(entries, places, strict=True) if p == b) for b in range(bins))
    return tuple(inside for inside in found if inside)


def survivors(
    entries: Sequence[RungEntry],
    settings: RungSettings | None = None,
    *,
    first_rung: bool = False,
    audit: Sequence[int] = (),
) -> tuple[int, ...]:
    """Return the ids of promoted entries, in the order of the entries; at least one of every bin."""
    fate = promotions(entries, settings, first_rung=first_rung, audit=audit)
    return tuple(entry.id for entry in entries if fate[entry.id].promoted)


def promotions(
    entries: Sequence[RungEntry],
    settings: RungSettings | None = None,
    *,
    first_rung: bool = False,
    audit: Sequence[int] = (),
) -> dict[int, Promotion]:
    """Decide the promotion of each entry.

    `audit` are ids that are promoted in any case, in addition to the places of their bins.

    On the first rung of several the deepest and the shallowest of every bin go on in any case. They take
    their bin's places, but at least half of those are left to the others, so that a small bin sends on more
    than its share.
    """
    settings = settings or RungSettings()
    sound = [entry for entry in entries if isfinite(entry.loss)]
    bins = size_bins(sound, settings.bins)
    found = {entry.id: Promotion.BEATEN if isfinite(entry.loss) else Promotion.NO_SCORE for entry in entries}
    for inside, places in zip(bins, _places([len(b) for b in bins], settings.eta), strict=True):
        always = _extremes(inside) if first_rung else ()
        order = ranked(inside)
        ordered = [*always, *(entry for entry in order if entry not in always)]
        by_rank = ceil(places / 2) if first_rung else places
        found |= {entry.id: Promotion.BEST for entry in ordered[: max(places, len(always) + by_rank)]}
        # among the best of its bin in any case, an extreme is kept for that
        best = order[:by_rank]
        found |= {
            e.id: why
            for e, why in zip(always, (Promotion.DEEPEST, Promotion.SHALLOWEST), strict=False)
            if e not in best
        }
    for entry in sound:
        if entry.id in audit and found[entry.id] is Promotion.BEATEN:
            found[entry.id] = Promotion.AUDIT
    return found


def _places(sizes: Sequence[int], eta: float) -> list[int]:
    """Return how many to promote from bins of these sizes: by largest remainder, at least one each."""
    whole = sum(sizes)
    total = ceil(whole / eta)
    exact = [total * size / whole for size in sizes]
    places = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (places[i] - exact[i], i))
    for i in by_remainder[: total - sum(places)]:
        places[i] += 1
    return [max(1, n) for n in places]


def _extremes(inside: Sequence[RungEntry]) -> tuple[RungEntry, ...]:
    """Return the deepest and the shallowest entry, of equals the better; one if all are equally deep."""
    deepest = min(inside, key=lambda e: (-e.depth, e.loss, e.id))
    shallowest = min(inside, key=lambda e: (e.depth, e.loss, e.id))
    return (deepest,) if deepest.depth == shallowest.depth else (deepest, shallowest)


def ranked(entries: Sequence[RungEntry]) -> tuple[RungEntry, ...]:
    """Rank entries by layers of non-domination; in a layer by the hypervolume lost without them."""
    rest, ordered = list(entries), []
    while rest:
        layer = set(front([_point(e) for e in rest]))
        ordered += _by_worth([rest[i] for i in sorted(layer)])
        rest = [entry for i, entry in enumerate(rest) if i not in layer]
    return tuple(ordered)


def _point(entry: RungEntry) -> Point:
    return (*map(log, entry.costs), entry.loss)


def _without(entry: RungEntry, entries: Sequence[RungEntry], reference: Point) -> float:
    """Return the hypervolume without an entry; with several costs less a part that is the same for all."""
    others = [_point(other) for other in entries if other is not entry]
    if len(reference) > 2:  # a layer's hypervolume takes long in more than two dimensions
        return -exclusive(_point(entry), others, reference)
    return hypervolume(others, reference)


def _by_worth(layer: Sequence[RungEntry]) -> list[RungEntry]:
    """Rank a layer: repeatedly remove the entry that costs least hypervolume; last removed comes first."""
    left, gone = list(layer), []
    reference = reference_point([_point(entry) for entry in layer])
    while len(left) > 1:
        areas = [_without(entry, left, reference) for entry in left]
        # of equals the larger model goes, then the later one
        least = max(range(len(left)), key=lambda i: (areas[i], left[i].costs[0], left[i].id))
        gone.append(left.pop(least))
    return [*left, *reversed(gone)]
