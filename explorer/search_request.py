"""What the search page's form asks for: the configuration that it means and the command that runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from explorer.folder import inside
from search.run.launch import check_new_name
from search.space.config import SearchConfig
from search.space.presets import preset
from sizer.device import load_devices
from sizer.errors import InvalidFile, InvalidQuantity, UnknownName
from sizer.units import format_bytes, parse_bytes

NO_PRESET = "none"
BUILTIN = "builtin"


class Form(NamedTuple):
    """Fields of the form as they are typed; an empty text means what the preset says, or no limit."""

    preset: str
    device: str
    max_size: str
    max_memory: str
    min_decode: str
    trials: int
    steps: int
    minutes: float | None  # None: as many models and steps as asked for
    sampler: str
    workers: int
    seed: int
    corpus: str
    keep_finalists: bool
    study: str


class Request(NamedTuple):
    """A search that can be begun: what it is, and the options of `sizer search run` that ask for it."""

    config: SearchConfig  # with minutes, before models or steps are cut to fit
    options: tuple[str, ...]
    study: str


def base_config(preset_name: str) -> SearchConfig:
    """What a search is without any option but the preset."""
    return SearchConfig() if preset_name == NO_PRESET else preset(preset_name).config


def request(form: Form, folder: Path) -> Request:
    """The search that the form asks for, in a working directory.

    SizerError where it cannot be: the command line would say the same, but for corpora outside of the
    directory and devices' files, which only the command line takes.
    """
    base = base_config(form.preset)
    if form.device and form.device not in load_devices():  # a device's file is a path, too
        raise UnknownName.of("device", form.device, load_devices())
    if form.minutes is not None and not 0 < form.minutes <= 100_000:
        raise InvalidQuantity(f"minutes: must be more than 0 and at most 100000, got {form.minutes:g}")
    given: dict[str, tuple[Any, str]] = {
        "device": (form.device, "--device"),
        "max_size_bytes": (_bytes(form.max_size, "max-size", base.max_size_bytes), "--max-size"),
        "max_memory_bytes": (_bytes(form.max_memory, "max-memory", base.max_memory_bytes), "--max-memory"),
        "min_decode_tokens_per_s": (_rate(form.min_decode, base.min_decode_tokens_per_s), "--min-decode"),
        "steps": (form.steps, "--steps"),
        "sampler": (form.sampler, "--sampler"),
        "workers": (form.workers, "--workers"),
        "seed": (form.seed, "--seed"),
        "corpus": (_corpus(form.corpus, folder), "--corpus"),
    }
    if form.minutes is None:
        given["trials"] = (form.trials, "--trials")
    changed = {name: value for name, (value, _) in given.items() if value != getattr(base, name)}
    options = [f"--preset={form.preset}"] if form.preset != NO_PRESET else []
    options += [f"{given[name][1]}={_typed(name, value)}" for name, value in changed.items()]
    if form.minutes is not None:
        options.append(f"--minutes={form.minutes:g}")
    if form.keep_finalists and not base.keep_finalists:
        changed["keep_finalists"] = True
        options.append("--keep-finalists")
    config = replace(base, **changed)
    check_new_name(form.study)
    return Request(config, tuple(options), form.study)


def size_text(value: int | None) -> str:
    """Bytes as one would type them, without rounding; empty for none."""
    if value is None:
        return ""
    short = format_bytes(value).replace(" ", "")
    return short if parse_bytes(short) == value else f"{value}B"


def _typed(field: str, value: Any) -> str:
    return size_text(value) if field.endswith("_bytes") else str(value)


def _bytes(typed: str, field: str, otherwise: int | None) -> int | None:
    return parse_bytes(typed, field) if typed.strip() else otherwise


def _rate(typed: str, otherwise: float | None) -> float | None:
    if not typed.strip():
        return otherwise
    try:
        return float(typed)
    except ValueError:
        raise InvalidQuantity(
            f"min-decode: cannot read {typed[:80]!r}; accepted: tokens per second, such as 100"
        ) from None


def _corpus(typed: str, folder: Path) -> str:
    """The corpus as typed, if it is the built-in one or lies in the working directory."""
    if typed.strip() in ("", BUILTIN):
        return BUILTIN
    path = inside(typed, folder, is_there=True)
    if path is None and ":" in typed:  # a field of rows stands behind the file's name
        path = inside(typed.rpartition(":")[0], folder, is_there=True)
    if path is None or typed.startswith("hf:"):
        raise InvalidFile(
            f"corpus: {typed[:200]!r} is no file or directory in the directory the explorer was started in; "
            "accepted: one in there, or empty for the built-in text (`sizer search run --corpus` takes any)"
        )
    return typed
