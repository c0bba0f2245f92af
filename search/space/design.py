"""Every architecture that a budget allows, by what the published law says of its loss; the best of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from search.quality.published import LawColumn, PublishedLaw, outside
from search.space.shape_grid import MOST_DEPTH, ShapeDims
from search.space.sized_shapes import Bools, DesignQuery, SizedShapes, joined, shape_grid, sized
from search.stats.ridge import Floats
from sizer.architecture import Architecture
from sizer.budget import Limits
from sizer.devices.catalogue import device as device_by_name
from sizer.devices.usable_memory import budget_bytes
from sizer.errors import InvalidQuantity, NoFit
from sizer.model_estimate import Estimate
from sizer.runtimes import runtime as runtime_by_name

# Files of a curve of one size are within this share below it.
SAME_SIZE = 0.03

# Depths, or widths, within this factor are nearly one.
_ALIKE = 1.2

# More bytes than any file has.
_NO_LIMIT = 2.0**62

# Deviations of the normal distribution that hold 80 %, as every range of this project does.
_Z_80 = 1.2815515655446004


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranked:
    """Shapes compared with the best one: the share by which their loss is above its, with a range."""

    shapes: SizedShapes
    above: Floats
    sd: Floats
    outside: dict[LawColumn, Bools]  # what of them the law was not fitted to

    @property
    def low(self) -> Floats:
        """Low end of the 80 % interval."""
        return self.above - _Z_80 * self.sd

    @property
    def high(self) -> Floats:
        """High end of the 80 % interval."""
        return self.above + _Z_80 * self.sd

    def outside_of(self, row: int) -> tuple[LawColumn, ...]:
        """Return columns of which a shape has more or less than any model the law was fitted to."""
        return tuple(column for column, rows in self.outside.items() if rows[row])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """The feasible shapes of a query and the law about them; made by `design`."""

    query: DesignQuery
    tried: int
    broken: dict[str, int]  # "file", "memory", "decode": shapes tried that break this limit
    feasible: Ranked
    law: PublishedLaw
    best_row: int

    def architecture(self, row: int) -> Architecture:
        """Return one feasible architecture."""
        return self.feasible.shapes.grid.architecture(row)

    def format(self, row: int) -> str:
        """Return the format of one feasible shape."""
        return self.query.formats[int(self.feasible.shapes.format[row])]

    def estimate(self, row: int) -> Estimate:
        """Return one feasible shape, by estimate()."""
        return self.query.size(self.architecture(row), self.format(row))

    def row_of(self, architecture: Architecture, format: str) -> int | None:
        """Return the row of a feasible shape by its sizes; None where it is not among them."""
        if format not in self.query.formats:
            return None
        shapes = self.feasible.shapes
        same = shapes.format == self.query.formats.index(format)
        for name in ("num_layers", *ShapeDims._fields):
            same &= getattr(shapes.grid, name) == getattr(architecture, name)
        rows = np.flatnonzero(same)
        return int(rows[0]) if len(rows) else None

    def rank(self, shapes: SizedShapes) -> Ranked:
        """Return other shapes compared with the best feasible one."""
        features = shapes.features
        above, sd = self.law.above(features, self.feasible.shapes.select(np.array([self.best_row])).features)
        return Ranked(shapes=shapes, above=above, sd=sd, outside=outside(features))

    def best(self, count: int, *, rows: Bools | None = None) -> tuple[int, ...]:
        """Rows of the lowest loss expected, best first: of nearly one depth and width in a format one only.

        `rows` says which are asked about; all without it.
        """
        grid, format = self.feasible.shapes.grid, self.feasible.shapes.format
        order = np.argsort(self.feasible.above, kind="stable")
        if rows is not None:
            order = order[rows[order]]
        # of each depth and format the best first: there are few of them, whatever the number of shapes
        kinds = format[order] * (1 + MOST_DEPTH) + grid.num_layers[order]
        firsts = order[np.sort(np.unique(kinds, return_index=True)[1])]
        chosen: list[int] = []
        for row in map(int, firsts):
            near = any(
                format[row] == format[other]
                and _near(grid.num_layers[row], grid.num_layers[other])
                and _near(grid.hidden_size[row], grid.hidden_size[other])
                for other in chosen
            )
            if not near and len(chosen) < count:
                chosen.append(row)
        return tuple(chosen)

    @property
    def target_bytes(self) -> int:
        """The file size that shapes of one size are compared at: the budget's, or the largest feasible."""
        most = self.query.budget.max_size_bytes
        largest = int(self.feasible.shapes.file_bytes.max())
        # where memory or speed bind first, no feasible file comes near the budget's
        return most if most is not None and largest >= (1 - SAME_SIZE) * most else largest

    def to_dict(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return some feasible shapes as JSON values, in the layout of schema sizer.solve/1, with the law.

        `loss_above` is the share by which the loss is expected above the best's, 80 % from low to high.
        """
        ranked = self.feasible
        return {
            "schema": "sizer.solve/1",
            "estimates": [self.estimate(row).to_dict() for row in rows],
            "law": [
                {
                    "loss_above": float(ranked.above[row]),
                    "low": float(ranked.low[row]),
                    "high": float(ranked.high[row]),
                    "outside": [column.value for column in ranked.outside_of(row)],
                }
                for row in rows
            ],
            "feasible": len(ranked.shapes),
        }

    def same_size(self, format: str) -> Ranked:
        """Return the shapes of each depth, from shallow and wide to deep and thin, in files of one size."""
        found = shape_grid(self.query, format).of_size(self.target_bytes, least_share=1 - SAME_SIZE)
        shapes = sized(self.query, found, self.query.formats.index(format))
        return self.rank(shapes.select(shapes.file_bytes <= self.target_bytes))

    def within(self, shapes: SizedShapes) -> Bools:
        """Return which shapes are within the budget."""
        checks = _checks(self.query, shapes)
        return _all(checks.values(), len(shapes))


def lattice_query(query: DesignQuery) -> DesignQuery:
    """Return the query without what does not change the shapes that are tried: limits on memory and speed."""
    most_bytes = int(_most_file_bytes(query))
    # nor does what orders them
    plain = DesignQuery(budget=query.budget)
    return replace(
        _with_known_names(query),
        budget=Limits(max_size_bytes=most_bytes),
        rank=plain.rank,
        training_tokens=plain.training_tokens,
    )


def tried_shapes(query: DesignQuery) -> SizedShapes:
    """Return all shapes a query is answered from, whether within the budget or not."""
    query = _with_known_names(query)
    most_bytes = _most_file_bytes(query)
    return joined(
        [
            sized(query, shape_grid(query, name).below(most_bytes), index)
            for index, name in enumerate(query.formats)
        ]
    )


def _with_known_names(query: DesignQuery) -> DesignQuery:
    """Return the query with its formats named once each, as the runtime names them."""
    engine = runtime_by_name(query.runtime)
    names = tuple(dict.fromkeys(map(engine.format_name, query.formats)))
    if not names:
        raise InvalidQuantity(f"formats: must name at least one of {', '.join(engine.formats)}")
    return replace(query, formats=names)


def design(query: DesignQuery, *, tried: SizedShapes | None = None) -> Design:
    """Size a grid of shapes in each format and rank those within the budget by the published law.

    `tried`: the result of `tried_shapes` for the same `lattice_query`, so that nothing is sized twice. Raises
    InvalidQuantity without any limit and NoFit, naming what the smallest model breaks, where nothing fits.
    """
    query = _with_known_names(query)
    tried = tried or tried_shapes(query)
    checks = _checks(query, tried)
    fits = _all(checks.values(), len(tried))
    broken = {name: int((~rows).sum()) for name, rows in checks.items()}
    if not fits.any():
        raise NoFit(_nothing_fits(query, tried, checks))
    shapes = tried.select(fits)
    features = shapes.features
    law = PublishedLaw(tokens=query.training_tokens, counts_bits=len(query.formats) > 1)
    best_row = int(law.loss(features).argmin())
    above, sd = law.above(features, shapes.select(np.array([best_row])).features)
    return Design(
        query=query,
        tried=len(tried),
        broken=broken,
        feasible=Ranked(shapes=shapes, above=above, sd=sd, outside=outside(features)),
        law=law,
        best_row=best_row,
    )


def _near(one: np.int64, other: np.int64) -> bool:
    return bool(max(one, other) < _ALIKE * min(one, other))


def _memory_limit(query: DesignQuery) -> int | None:
    """Return bytes that the tighter of budget, device and runtime lets the model hold; None without any."""
    limits = [query.budget.max_memory_bytes, runtime_by_name(query.runtime).memory_limit_bytes]
    if query.device is not None:
        limits.append(budget_bytes(device_by_name(query.device)))
    return min((limit for limit in limits if limit is not None), default=None)


def _most_file_bytes(query: DesignQuery) -> float:
    """Return the largest file that can be within the budget: the file's bytes are in memory too."""
    limits = (query.budget.max_size_bytes, _memory_limit(query))
    known = [float(limit) for limit in limits if limit is not None]
    if not known and (query.budget.min_decode_tokens_per_s is None or query.device is None):
        raise InvalidQuantity(
            "budget: give --max-size, --max-memory or a --device, there is no limit to fill"
        )
    return min(known, default=_NO_LIMIT)


def _checks(query: DesignQuery, shapes: SizedShapes) -> dict[str, Bools]:
    """Return which shapes keep each limit there is; the arithmetic of Limits.violations, on columns."""
    budget, memory = query.budget, _memory_limit(query)
    found: dict[str, Bools] = {}
    if budget.max_size_bytes is not None:
        found["file"] = shapes.file_bytes <= budget.max_size_bytes
    if memory is not None:
        found["memory"] = shapes.memory_bytes <= memory
    if budget.min_decode_tokens_per_s is not None and shapes.decode_tokens_per_s is not None:
        found["decode"] = shapes.decode_tokens_per_s >= budget.min_decode_tokens_per_s
    return found


def _all(checks: Iterable[Bools], count: int) -> Bools:
    """Return the rows that keep every limit."""
    kept = np.ones(count, np.bool_)
    for rows in checks:
        kept &= rows
    return kept


def _nothing_fits(query: DesignQuery, tried: SizedShapes, checks: dict[str, Bools]) -> str:
    """Return what the smallest model breaks, and which limit, lifted alone, would let something fit.

    Where its embedding table alone takes most of the file, a smaller vocabulary is named too.
    """
    row = int(tried.file_bytes.argmin())
    smallest = query.size(tried.grid.architecture(row), query.formats[int(tried.format[row])])
    lifted = [name for name in checks if _all((r for n, r in checks.items() if n != name), len(tried)).any()]
    broken = "; ".join(query.budget.violations(smallest))
    text = f"budget: no shape fits; the smallest breaks it: {broken}"
    if lifted:
        text += f"; without the limit on {' or '.join(lifted)} some would fit"
    parts = smallest.parameters
    if "file" in checks and not checks["file"].any() and 2 * parts.embedding > parts.total:
        share = parts.embedding / parts.total
        text += f"; {share:.0%} of its weights are the embedding of {query.vocab_size:,} tokens"
    return text
