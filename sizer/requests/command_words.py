"""A request as the words of a command line."""

from __future__ import annotations

from collections.abc import Mapping

from sizer.architecture import Architecture

# Options that are given or not, without a word for no.
_SWITCHES = ("wide", "any_width", "training")


def source_words(architecture: Architecture | None, model: str | None) -> list[str]:
    """Return the word for a model: an architecture as its code, else the name or path; none without."""
    if architecture is None:
        return [] if model is None else [model]
    from sizer.shape_code import PREFIX, shape_code

    return [PREFIX + shape_code(architecture)]


def option_words(options: Mapping[str, object]) -> list[str]:
    """Return the words for options by name; those that are None, and switches that are off, have none."""
    words = []
    for name, value in options.items():
        option = name.replace("_", "-")
        if value is None or (name in _SWITCHES and value is False):
            continue
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", f"{value:g}" if isinstance(value, float) else str(value)]
    return words
