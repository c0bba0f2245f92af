"""Grid: a million architectures as columns, checked like Architecture; rows turn back into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sizer.architecture import MAX_LAYERS, MAX_WIDTH, Architecture, LayerSharing, PositionKind
from sizer.errors import InvalidArchitecture, InvalidQuantity

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Columns by name, with the largest number each may hold (the least is 1).
COLUMNS = {
    "num_layers": MAX_LAYERS,
    **dict.fromkeys(
        ("hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "head_dim", "vocab_size"), MAX_WIDTH
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Architectures that differ in their sizes, tied embeddings and sharing; all else is as in `like`.

    Made by `Grid.build` or `Grid.product`. `sharing` holds indices into `sharings`.
    """

    like: Architecture
    sharings: tuple[LayerSharing, ...]
    num_layers: Ints
    hidden_size: Ints
    intermediate_size: Ints
    num_heads: Ints
    num_kv_heads: Ints
    head_dim: Ints
    vocab_size: Ints
    tie_embeddings: NDArray[np.bool_]
    sharing: Ints

    def __post_init__(self) -> None:
        _check_kind(self.like)
        bad = np.zeros(len(self), np.bool_)
        for name, most in COLUMNS.items():
            column = getattr(self, name)
            if len(column) and not (column.min() >= 1 and column.max() <= most):
                bad |= (column < 1) | (column > most)
        if not bad.any():
            bad = ~_whole_groups(self.num_heads, self.num_kv_heads)
            if self.like.position is PositionKind.ROPE:
                bad |= self.head_dim & 1 == 1
            bad |= self.executed_layers > MAX_LAYERS
            bad |= self.num_layers < _fewest(self.sharings, self.sharing)
        if bad.any():
            row = int(bad.argmax())
            try:
                self.architecture(row)
            except InvalidArchitecture as error:
                raise InvalidArchitecture(f"row {row}: {error}") from None
            raise AssertionError(f"row {row} is an architecture after all")

    def __len__(self) -> int:
        return len(self.num_layers)

    @classmethod
    def build(
        cls,
        like: Architecture,
        *,
        sharing: LayerSharing | Sequence[LayerSharing] | None = None,
        **columns: ArrayLike,
    ) -> Grid:
        """Return a grid from columns of equal length (or single numbers); what is not given is as in `like`.

        InvalidArchitecture names the first row that is no architecture, and why.
        """
        given = _given(columns)
        several = None if sharing is None or isinstance(sharing, LayerSharing) else list(sharing)
        lengths = {len(c) for c in given.values() if c.ndim} | (
            {len(several)} if several is not None else set()
        )
        if len(lengths - {1}) > 1 or any(c.ndim > 1 for c in given.values()):
            raise InvalidQuantity(f"grid: columns must be of one length, got {sorted(lengths)}")
        length = max(lengths - {1}, default=1) if 0 not in lengths else 0
        if several is None:
            kinds: list[LayerSharing] = [sharing if isinstance(sharing, LayerSharing) else like.sharing]
            number = np.zeros((), np.int64)
        else:
            kinds = list(dict.fromkeys(several))
            number = np.array([kinds.index(s) for s in several], np.int64)
        whole = {**{name: np.asarray(value) for name, value in _defaults(like).items()}, **given}
        full = {name: np.ascontiguousarray(np.broadcast_to(c, length)) for name, c in whole.items()}
        return cls._made(like, kinds, np.ascontiguousarray(np.broadcast_to(number, length)), full)

    @classmethod
    def product(
        cls, like: Architecture, *, sharing: Sequence[LayerSharing] | None = None, **choices: ArrayLike
    ) -> Grid:
        """Return every combination of the choices, the last changing fastest; sharing changes fastest of all.

        Combinations whose heads do not divide into their KV heads, or that run more layers than an
        architecture may or have none between unshared ends, are left out; any other row that is no
        architecture is an error.
        """
        given = {name: np.atleast_1d(c) for name, c in _given(choices).items()}
        kinds = list(sharing or (like.sharing,))
        axes = [*given.values(), np.arange(len(kinds))]
        shape = tuple(len(axis) for axis in axes)
        full = [
            np.broadcast_to(
                axis.astype(np.int64).reshape([-1 if i == at else 1 for i in range(len(axes))]), shape
            ).ravel()
            for at, axis in enumerate(axes)
        ]
        columns = dict(zip(given, full, strict=False))
        heads = columns.get("num_heads", np.array([like.num_heads]))
        kv_heads = columns.get("num_kv_heads", np.array([like.num_kv_heads]))
        layers = columns.get("num_layers", np.array([like.num_layers]))
        keep = (_executed(layers, kinds, full[-1]) <= MAX_LAYERS) & (layers >= _fewest(kinds, full[-1]))
        # a number of KV heads below 1 is left for the check that names the row
        keep &= _whole_groups(heads, np.maximum(kv_heads, 1)) | (kv_heads < 1)
        if not keep.all():
            columns = {name: column[keep] for name, column in columns.items()}
            full[-1] = full[-1][keep]
        rest = {n: np.full(len(full[-1]), v) for n, v in _defaults(like).items() if n not in columns}
        return cls._made(like, kinds, full[-1], {**columns, **rest})

    @classmethod
    def _made(
        cls, like: Architecture, kinds: Sequence[LayerSharing], number: Ints, columns: Mapping[str, Ints]
    ) -> Grid:
        tie = columns["tie_embeddings"].astype(np.bool_)
        sizes = {name: columns[name] for name in COLUMNS}
        return cls(like=like, sharings=tuple(kinds), sharing=number, tie_embeddings=tie, **sizes)

    @property
    def executed_layers(self) -> Ints:
        """Number of times a block runs per token."""
        return _executed(self.num_layers, self.sharings, self.sharing)

    def architecture(self, row: int) -> Architecture:
        """Return the architecture of one row."""
        sizes: dict[str, Any] = {name: int(getattr(self, name)[row]) for name in COLUMNS}
        return replace(
            self.like,
            **sizes,
            tie_embeddings=bool(self.tie_embeddings[row]),
            sharing=self.sharings[int(self.sharing[row])],
        )

    def subset(self, some: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Grid:
        """Return a part of the grid; it was checked with the whole."""
        part = object.__new__(Grid)
        for f in fields(self):
            value = getattr(self, f.name)
            object.__setattr__(part, f.name, value[some] if isinstance(value, np.ndarray) else value)
        return part


def _executed(layers: Ints, kinds: Sequence[LayerSharing], number: Ints) -> Ints:
    """Return the runs of each row's stored blocks; `number` has each row's place among the kinds."""
    repeats = np.array([kind.repeat for kind in kinds], np.int64)[number]
    ends = np.array([kind.ends for kind in kinds], np.int64)[number]
    return np.asarray(layers + (layers - 2 * ends) * (repeats - 1))


def _fewest(kinds: Sequence[LayerSharing], number: Ints) -> Ints:
    return np.array([kind.fewest_layers for kind in kinds], np.int64)[number]


def _check_kind(like: Architecture) -> None:
    """Refuse what makes layers differ, or has tensors that rows could not share."""
    beyond = [*like.beyond_llama, *(["shared_mlp"] if like.shared_mlp else [])]
    if beyond:
        raise InvalidArchitecture(
            f"grid: only Llama-shaped decoders, and {like.name!r} has {', '.join(beyond)}"
        )


def _defaults(like: Architecture) -> dict[str, int | bool]:
    return {**{name: getattr(like, name) for name in COLUMNS}, "tie_embeddings": like.tie_embeddings}


def _given(columns: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.int64]]:
    known = (*COLUMNS, "tie_embeddings")
    for name in columns:
        if name not in known:
            raise InvalidQuantity(f"grid: unknown column {name!r}; known: {', '.join(known)}, sharing")
    found = {}
    for name, values in columns.items():
        column = np.asarray(values)
        kinds = "b" if name == "tie_embeddings" else "iu"
        if column.size and column.dtype.kind not in kinds:
            wanted = "true or false" if kinds == "b" else "whole numbers"
            raise InvalidQuantity(f"grid: {name} must be {wanted}, got {column.dtype}")
        found[name] = column.astype(np.int64)
    return found


def _whole_groups(heads: Ints, kv_heads: Ints) -> NDArray[np.bool_]:
    # of numbers up to 10**7 a float64 quotient is whole exactly where the division leaves no remainder
    quotient = heads / kv_heads
    return np.asarray(quotient == np.floor(quotient))
