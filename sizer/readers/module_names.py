"""Names of modules in a quantized checkpoint's config, as each tool means them.

transformers: the beginning of a name up to a dot, its end, or a pattern; AutoAWQ: a part of a name;
compressed-tensors and auto-round: whole names and "re:" patterns; GPTQModel: patterns; ModelOpt: "*".
A file's pattern is not trusted: it is read only if it is of the plain kind that tools write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

_LETTERS = 200
_MOST_NAMES = 10_000
_MOST_PATTERNS = 16  # those are compared one by one
_ANY_TEXT, _MOST_ANY_TEXT, _MOST_REPEATS = re.compile(r"(?<!\\)\.[*+]"), 2, 4
_LITERAL = re.compile(r"[\w.\-]+")
# Plain patterns: names, dots, digits, any text, one of several names; no token can be read in two ways.
_NAMES = r"(?:[\w\-]|\\?\.)+"
_TOKENS = (
    r"[\w\-]",
    r"\\[.\-]",
    r"\\d[+*]?",
    r"\[[0-9\-]+\][+*]?",
    r"\.[*+]?",
    rf"\((?:\?:)?{_NAMES}(?:\|{_NAMES})*\)",
)
_PLAIN = re.compile(rf"\^?(?:{'|'.join(_TOKENS)})+\$?")
# How checkpoints call the decoder's own modules: text parts of vision models, and MLX's experts.
_TEXT_PART = re.compile(
    r"^(?:model\.language_model|language_model\.model|language_model|model\.text_model)\."
)
# What no tool packs, and parts that no text decoder has.
NEVER_PACKED = re.compile(
    r"lm_head|embed|norm|mlp\.gate\b|router|conv|vis|audio|multi_?modal|proj(ector|ection)$|merger|mtp"
)


class ModuleNames(NamedTuple):
    """Names that a config has for modules: `find` returns the one by which a module is meant."""

    whole: dict[str, str]  # the name as tensors have it, and as the config has it
    bounded: dict[str, str]  # beginnings up to a dot, and ends
    patterns: tuple[tuple[str, Callable[[str], bool]], ...]
    unread: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """Names of modules that tools pack, those that are not read among them."""
        read = {*self.whole.values(), *self.bounded.values(), *(text for text, _ in self.patterns)}
        return frozenset(name for name in read | self.unread if not NEVER_PACKED.search(name))

    def find(self, module: str) -> str | None:
        """Return the name of the config that means a module, None if none does."""
        if (name := self.whole.get(module)) is not None:
            return name
        if self.bounded:
            ends = (module[at:] for at in range(len(module)))
            starts = (module[:at] for at, letter in enumerate(module) if letter == ".")
            for part in (*ends, *starts):
                if (name := self.bounded.get(part)) is not None:
                    return name
        return next((text for text, means in self.patterns if means(module)), None)


def module_name(name: str) -> str:
    """Return a module's name as tensors here have it: without a vision model's beginning."""
    text = name[:_LETTERS].removesuffix(".weight")
    inner = _TEXT_PART.sub("", text)
    if inner != text and not inner.startswith(("lm_head", "model.")):
        inner = f"model.{inner}"
    return inner.replace(".switch_mlp.", ".experts.")


def texts(value: object) -> list[str]:
    """Return the texts of a list or the keys of a mapping, up to a limit."""
    listed = value if isinstance(value, list | dict) else []
    return [item for item in list(listed)[:_MOST_NAMES] if isinstance(item, str)]


def starts_and_ends(names: Iterable[str]) -> ModuleNames:
    """Read names as transformers does."""
    bounded = {module_name(name): name for name in names if _LITERAL.fullmatch(name[:_LETTERS])}
    others = [name for name in names if not _LITERAL.fullmatch(name[:_LETTERS])]
    return _with_patterns(others, {}, bounded, lambda name: plain_pattern(name, to_dot=True))


def parts(names: Iterable[str]) -> ModuleNames:
    """Read names as AutoAWQ does."""
    return _with_patterns(names, {}, {}, lambda name: lambda module: module_name(name) in module)


def whole_names(names: Iterable[str]) -> ModuleNames:
    """Read names as MLX, compressed-tensors, auto-round and GPTQModel do: whole ones or patterns."""
    whole = {module_name(name): name for name in names if _LITERAL.fullmatch(name[:_LETTERS])}
    others = [name for name in names if not _LITERAL.fullmatch(name[:_LETTERS])]
    return _with_patterns(others, whole, {}, lambda name: plain_pattern(re.sub(r"^(?:re:|[+\-]:)", "", name)))


def with_stars(names: Iterable[str]) -> ModuleNames:
    """Read names as ModelOpt does: "*" is any text."""
    escaped = {name: ".*".join(map(re.escape, module_name(name).split("*"))) for name in names}
    return _with_patterns(names, {}, {}, lambda name: plain_pattern(f"{escaped[name]}$"))


def _with_patterns(
    names: Iterable[str],
    whole: dict[str, str],
    bounded: dict[str, str],
    read: Callable[[str], Callable[[str], bool] | None],
) -> ModuleNames:
    listed = list(names)
    patterns = [(name, means) for name in listed[:_MOST_PATTERNS] if (means := read(name)) is not None]
    return ModuleNames(whole, bounded, tuple(patterns), frozenset(listed) - {name for name, _ in patterns})


def plain_pattern(text: str, *, to_dot: bool = False) -> Callable[[str], bool] | None:
    """Return whether a pattern means a module from the start of its name; None if it is not a plain one.

    `to_dot`: a match ends at a dot or at the end of the name.
    """
    is_short = len(text) <= _LETTERS and len(re.findall(r"[*+]", text)) <= _MOST_REPEATS
    if not is_short or len(_ANY_TEXT.findall(text)) > _MOST_ANY_TEXT or not _PLAIN.fullmatch(text):
        return None
    try:
        pattern = re.compile(f"(?:{text})" + (r"(?:(?<=\.)|(?=\.|$))" if to_dot else ""))
    except re.error:
        return None

    def means(module: str) -> bool:
        inner = module.removeprefix("model.")
        starts = ("model.language_model.", "language_model.model.", "language_model.")
        return any(pattern.match(name) for name in (module, *(f"{start}{inner}" for start in starts)))

    return means
