"""Names that people type for models: with a publisher, a variant, a quantization, or as an ollama tag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sizer.errors import UnknownName

_UNPUBLISHED = Path(__file__).parent / "data" / "unpublished_models.toml"
_MAX_LETTERS = 200
_MAX_LISTED = 8

# Ends of names that do not change the shape: how a model was tuned, stored or packed.
_ENDS = re.compile(
    r"[-_. ](?:instruct|it|chat|sft|dpo|rl|base|pt|hf|text|think|thinking|"
    r"gguf|ggml|mlx|dwq|onnx|awq|gptq|exl[23]|bnb|qat|unsloth|imat|imatrix|i1|quantized|dynamic|latest|preview|safetensors|deduped|litert-lm|litertlm|"
    r"(?:ud-)?i?q[1-8](?:_[a-z0-9]+)*|t?q[12]_0|f(?:p)?(?:8|16|32)|bf16|mxfp4|nvfp4|"
    r"mlc|q[0-8]f(?:16|32)(?:_[01])?|u?int[48]|[2-8]-?bits?|w[48]a(?:4|8|16)|g(?:32|64|128))$"
)
_TUNED = re.compile(r"[-_ ](?:instruct|it|chat|base|thinking|coder|zephyr)(?=[-_ ])")
_FILE_END = re.compile(r"\.(?:gguf|safetensors|bin|litertlm|task|pte)$")
# Publishers that stand before a model's own name in file names (google_gemma-3-1b-it, Meta-Llama-3-8B).
_PUBLISHERS = re.compile(
    r"^(?:meta[-_]llama(?=_)|meta|google|qwen(?=_)|microsoft|mistralai|huggingfacetb|allenai|tiiuae|ibm[-_]granite|"
    r"liquidai|baidu|tencent|nvidia|deepseek[-_]ai|openai|facebook|apple|eleutherai|bigscience|stabilityai|"
    r"openbmb|lgai[-_]exaone|kyutai|h2oai|amd|mbzuai|cerebras|upstage)[-_ ]"
)
_VARIANT = re.compile(
    r"-|(?:turbo|mini|nano|vision|pro|flash|opus|sonnet|haiku|ultra|instant|preview|latest|exp|codex|think|"
    r"dash|small|large|audio|chat|fast|beta)(?![a-z]{5})"
)
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])[-:_ ]+(?=[0-9])")
_SIZE_OR_VERSION = re.compile(r"-|v?[0-9]")
_SIZE = re.compile(r"[0-9][bm]")
_VERSION = re.compile(r"-?v?[0-9]+(?:\.[0-9]+)*")  # or the month it came out, but no size
_SEPARATORS = re.compile(r"[-:_ ]+")
_UNDERSCORED_NUMBER = re.compile(r"(?<=[0-9])_(?=[0-9])")


def find(name: str, known: Iterable[str], aliases: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the catalogue name that a typed name means, or else the names that it begins: other sizes."""
    names = {**aliases, **{own: own for own in known}}
    by_key = {key: own for spelled, own in names.items() for key in keys(spelled)}
    typed = [key for candidate in spellings(name) for key in keys(candidate)]
    for key in typed:
        if key in by_key:
            return by_key[key], ()
    # gemma-3-4b is gemma-3-4b-text, where no other name is that one with something added
    shortened: dict[str, set[str]] = {}
    for spelled, own in names.items():
        for short in _without_ends(spelled.lower()):
            for key in keys(short):
                shortened.setdefault(key, set()).add(own)
    for key in typed:
        if len(meant := shortened.get(key, set())) == 1:
            return next(iter(meant)), ()
    for key in typed:
        longer = dict(_longer(key, by_key))
        if len(longer) == 1 and _SIZE.search(key) and _VERSION.fullmatch(min(longer.values())):
            return next(iter(longer)), ()  # mixtral-8x7b, of which only v0.1 is known
        if longer:
            return None, tuple(sorted(longer, key=str.lower))[:_MAX_LISTED]
    return None, ()


def spellings(name: str) -> Iterator[str]:
    """Yield a typed name, and what is left of it without publisher, file end and words like -Instruct."""
    text = _FILE_END.sub("", name[:_MAX_LETTERS].strip().lower().rsplit("/", 1)[-1])
    text = text.replace(":", "-")
    yield text
    starts = [text]
    if (own := _PUBLISHERS.sub("", text)) != text:
        yield own
        starts.append(own)
    for start in starts:
        yield from _without_ends(start)


def _without_ends(text: str) -> Iterator[str]:
    """Yield what is left of a name without its last word like -Instruct, and so on; then without all."""
    left = text
    while (shorter := _ENDS.sub("", left)) != left:
        left = shorter
        yield left
    if (inner := _TUNED.sub("", left)) != left:
        yield inner


def keys(name: str) -> Sequence[str]:
    """Return the forms a name is compared by: lower case, no separators but between numbers.

    An underscore between digits may be a decimal point (phi-1_5, stablelm-2-1_6b) or a separator.
    """
    text = name.lower()
    forms = dict.fromkeys((_UNDERSCORED_NUMBER.sub(".", text), text))
    return [_SEPARATORS.sub("", _BETWEEN_DIGITS.sub("\0", form)).replace("\0", "-") for form in forms]


def _longer(key: str, by_key: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names that begin with a key, and the size or version after it: qwen2.5 and -0.5b."""
    if len(key) < 3:
        return
    for other, own in by_key.items():
        rest = other.removeprefix(key)
        if rest != other and _SIZE_OR_VERSION.match(rest) and not (rest[0].isdigit() and key[-1].isdigit()):
            yield own, rest


def require_published(name: str) -> None:
    """Raise UnknownName with the reason that unpublished_models.toml has for a model, if it is there."""
    import tomllib

    rows = tomllib.loads(_UNPUBLISHED.read_text(encoding="utf-8"))["model"]
    typed = [key for candidate in spellings(name) for key in keys(candidate)]
    longest = sorted(((n, row) for row in rows for n in row["names"]), key=lambda r: -len(r[0]))
    for spelled, row in longest:
        if any(_is_variant(text, key) for key in keys(spelled) for text in typed):
            reason = row.get("reason", "its shape is not published")
            others = "a config.json or file of it" if "reason" in row else "a model whose shape is known"
            raise UnknownName(
                f"model: {spelled}: {reason} ({row['source']}); accepted: {others}, or --params with a count"
            )


def _is_variant(text: str, key: str) -> bool:
    """Return whether a text is the key, alone or with a variant: gpt-4 and gpt-4-turbo, but not gpt-4.5."""
    rest = text.removeprefix(key) if text.startswith(key) else None
    if not rest:
        return rest == ""
    return _VARIANT.match(rest) is not None or (rest[0].isdigit() and key[-1].isalpha())
