"""Errors caused by the input: one base class, one subclass per cause."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN_LETTERS = 80
_SHOWN_DIGITS = 40
_LISTED_LETTERS = 400
_MESSAGE_LETTERS = 1000


class SizerError(ValueError):
    """Bad input from outside; the message is one line naming field, value and what is accepted."""

    def __str__(self) -> str:
        """Return the message, without its middle where a value makes it longer than a terminal shows."""
        text = super().__str__()
        half = _MESSAGE_LETTERS // 2 - 3
        return text if len(text) <= _MESSAGE_LETTERS else f"{text[:half]} ... {text[-half:]}"


class InvalidQuantity(SizerError):
    """A count, size, duration or rate that cannot be read."""


class InvalidArchitecture(SizerError):
    """Shapes or configuration keys that do not describe a model."""


class InvalidFile(SizerError):
    """A file that is missing, unreadable or not what it claims to be."""


class UnknownName(SizerError):
    """A device, model, format or runtime that is not in the catalogue."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], *, all_of: str | None = None) -> UnknownName:
        """Build the error that names the kind, the value given and the nearest and all known names.

        `all_of` stands for the list of all where it is long.
        """
        from difflib import get_close_matches

        names = sorted(known)
        by_lower = {n.lower(): n for n in names}
        wanted = name[:_SHOWN_LETTERS].lower()
        near = [by_lower[n] for n in get_close_matches(wanted, by_lower, n=3, cutoff=0.5)]
        hint = f"did you mean {', '.join(near)}? " if near else ""
        all_names = all_of or listed(names)
        return cls(f"unknown {kind} {shown(name)}; {hint}known: {all_names}")


class NoFit(SizerError):
    """Nothing satisfies the budget; exit code 1, not 2."""


class MeasurementError(SizerError):
    """A measurement that cannot be made: a package is missing, a runtime crashed, no usable result."""


class StudyError(SizerError):
    """A search study that does not exist, is locked, or cannot be written."""


def listed(names: list[str]) -> str:
    """Return names in a list that a terminal can show, cut before it has 400 letters."""
    letters = 0
    for count, name in enumerate(names):
        letters += len(name) + 2
        if letters > _LISTED_LETTERS:
            return f"{', '.join(names[:count])} and {len(names) - count} more"
    return ", ".join(names)


def shown(value: object) -> str:
    """Quote a value of the input for an error: on one line, shortened, however large or deep it is."""
    if isinstance(value, int) and abs(value) >= 10**_SHOWN_DIGITS:
        # not printed first: Python refuses numbers of more than 4,300 digits
        return f"a number of about {value.bit_length() * 3 // 10} digits"
    from reprlib import Repr

    short = Repr()
    short.maxlevel = 4
    short.maxlist = short.maxtuple = short.maxdict = 12
    short.maxstring = short.maxother = short.maxlong = _SHOWN_LETTERS
    text = short.repr(value)
    return text if len(text) <= _SHOWN_LETTERS else f"{text[: _SHOWN_LETTERS - 3]}..."
