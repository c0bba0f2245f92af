"""Two models side by side: every field, part, byte and speed of both, and by how much the second differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from reports.tables.compare import FIGURES, prediction_of
from reports.text.wording import NOT_KNOWN, range_text
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from sizer.model_estimate import Estimate

NO_CHANGE = "="


class Difference(NamedTuple):
    """One line: both values as text, the change as text and in per cent; empty if there is none."""

    label: str
    first: str
    second: str
    change: str
    percent: str

    @property
    def differs(self) -> bool:
        """Return whether the two are not the same."""
        return self.change != NO_CHANGE


class DifferenceRow(NamedTuple):
    """Lines of one kind under a title."""

    title: str
    lines: tuple[Difference, ...]


def differences(first: Estimate, second: Estimate) -> tuple[DifferenceRow, ...]:
    """Compare architecture, parameters, file, memory and speed of two estimates, line by line."""
    return (
        DifferenceRow("Architecture", tuple(_fields(first, second))),
        DifferenceRow("Parameters", _numbers(_parameters(first), _parameters(second), format_count)),
        *_deployed(first, second),
        DifferenceRow("Speed and energy", tuple(_speeds(first, second))),
    )


def _deployed(first: Estimate, second: Estimate) -> Iterator[DifferenceRow]:
    """Compare file and memory where both are known."""
    if first.weights and second.weights:
        yield DifferenceRow("File", _numbers(_file(first), _file(second), format_bytes))
    if first.held and second.held:
        yield DifferenceRow("Memory", _numbers(_memory(first), _memory(second), format_bytes_binary))


def _fields(first: Estimate, second: Estimate) -> Iterator[Difference]:
    """Compare fields that either model sets, as in the estimate's document."""
    ours, theirs = _flat(first), _flat(second)
    for name in dict.fromkeys((*ours, *theirs)):
        one, other = ours.get(name), theirs.get(name)
        if one is None and other is None:
            continue
        if isinstance(one, int) and isinstance(other, int) and not isinstance(one, bool):
            yield _number(name, one, other, lambda value: f"{value:,}")
        else:
            change = NO_CHANGE if one == other else "differs"
            yield Difference(name, _value_text(one), _value_text(other), change, "")


def _flat(estimate: Estimate) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in estimate.architecture.to_dict().items():
        if isinstance(value, Mapping):
            found |= {f"{name} {inner}": given for inner, given in value.items()}
        elif name != "name":
            found[name] = value
    return found


def _value_text(value: object) -> str:
    if value is None:
        return NOT_KNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _parameters(estimate: Estimate) -> dict[str, int]:
    p = estimate.parameters
    return {
        "embedding": p.embedding,
        "attention": p.attention,
        "FFN": p.mlp,
        "norm": p.norm,
        "head": p.head,
        "total": p.total,
    }


def _file(estimate: Estimate) -> dict[str, int]:
    file = estimate.file
    types = dict(sorted(estimate.bytes_by_type.items(), key=lambda item: -item[1]))
    around = {
        "padding": file.padding_bytes,
        "tensor directory": file.directory_bytes,
        "metadata and tokenizer": file.tokenizer_bytes,
    }
    return types | around | {"total": file.total}


def _memory(estimate: Estimate) -> dict[str, int]:
    m = estimate.memory
    return {
        "weights": m.weights_bytes,
        "KV cache": m.kv_cache_bytes,
        "compute buffer": m.compute_bytes,
        "output buffer": m.output_bytes,
        "runtime overhead": m.overhead_bytes,
        **m.companions,
        "total": m.total_bytes,
    }


def _numbers(
    ours: Mapping[str, int], theirs: Mapping[str, int], wording: Callable[[int], str]
) -> tuple[Difference, ...]:
    # the total last, whatever parts only one of them has
    names = [name for name in dict.fromkeys((*ours, *theirs)) if name != "total"]
    return tuple(_number(name, ours.get(name, 0), theirs.get(name, 0), wording) for name in (*names, "total"))


def _speeds(first: Estimate, second: Estimate) -> Iterator[Difference]:
    for name, figure in FIGURES.items():
        one, other = (prediction_of(estimate, name) for estimate in (first, second))
        if one is None and other is None:
            continue
        ours, theirs = (
            f"{figure.wording(p.value)} ({range_text(p, figure.wording)})" if p else NOT_KNOWN
            for p in (one, other)
        )
        if one is None or other is None:
            yield Difference(figure.name, ours, theirs, "differs", "")
        else:
            line = _number(figure.name, one.value, other.value, figure.wording)
            yield line._replace(first=ours, second=theirs)


_Number = TypeVar("_Number", int, float)


def _number(label: str, one: _Number, other: _Number, wording: Callable[[_Number], str]) -> Difference:
    change = other - one
    if not change:
        return Difference(label, wording(one), wording(other), NO_CHANGE, "")
    sign = "+" if change > 0 else "−"
    percent = f"{change / one:+.1%}".replace("-", "−").replace("%", " %") if one else ""
    return Difference(label, wording(one), wording(other), f"{sign}{wording(abs(change))}", percent)
