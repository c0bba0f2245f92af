"""What can go wrong because of the input: one base class, one kind per cause."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SizerError(ValueError):
    """Bad input from outside; the message is one line naming field, value and what is accepted."""


class InvalidQuantity(SizerError):
    """A count, size, duration or rate that cannot be read."""


class InvalidArchitecture(SizerError):
    """Shapes or configuration keys that do not describe a model."""


class InvalidFile(SizerError):
    """A file that is missing, unreadable or not what it claims to be."""


class UnknownName(SizerError):
    """A device, model, format or runtime that is not in the catalogue."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownName:
        """Error naming the kind, the value given and the nearest (or all) known names."""
        names = sorted(known)
        by_lower = {n.lower(): n for n in names}
        near = [by_lower[n] for n in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
        hint = f"did you mean {', '.join(near)}? " if near else ""
        return cls(f"unknown {kind} {name!r}; {hint}known: {', '.join(names)}")


class NoFit(SizerError):
    """Nothing satisfies the budget; exit code 1, not 2."""


class StudyError(SizerError):
    """A search study that does not exist, is locked, or cannot be written."""
