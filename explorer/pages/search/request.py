"""The search that the form asks for: its configuration, and the options of the command that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from explorer.pages.search.space import toml_text, typed_value
from explorer.widgets.allowed_paths import inside
from explorer.widgets.limits import size_text
from search.config.config import SearchConfig
from search.config.presets import preset
from search.config.usual_space import tokenizer_for, usual_space
from search.store.folders import check_new_name
from sizer.atomic_write import atomic_write
from sizer.devices.catalogue import load_devices, name_parts
from sizer.errors import InvalidFile, InvalidQuantity, StudyError, UnknownName
from sizer.units import parse_bytes

NO_PRESET = "none"
BUILTIN = "builtin"


class SearchForm(NamedTuple):
    """Fields of the form as typed; an empty text means the preset's value, or no limit."""

    preset: str
    device: str
    max_size: str
    max_memory: str
    min_decode: str
    trials: int
    steps: int
    minutes: float | None  # None: `trials` models of `steps`
    sampler: str
    workers: int
    seed: int
    corpus: str
    keep_finalists: bool
    study: str
    engine: str | None = None  # None: the preset's
    context: int | None = None
    others: tuple[tuple[str, str], ...] = ()  # further fields by name, as typed


class Request(NamedTuple):
    """A search that can be started: its configuration, and the options of `sizer search run` for it."""

    config: SearchConfig  # with minutes, before models or steps are cut to fit
    options: tuple[str, ...]
    study: str
    toml: str = ""  # of the file that `--config` among the options names; empty if it names none

    def write_file(self, folder: Path) -> None:
        """Write the file of the options into the working directory; StudyError if it cannot be written."""
        if not self.toml:
            return
        path = folder / config_file(self.study)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(self.toml.encode())
        except OSError as error:
            raise StudyError(f"config: cannot write {str(path)!r}: {error.strerror or error}") from None


def config_file(study: str) -> str:
    """Return the path of a search's configuration, from the working directory."""
    return f"runs/configs/{study}.toml"


def base_config(preset_name: str) -> SearchConfig:
    """Return the configuration of a search with no option other than the preset."""
    return SearchConfig() if preset_name == NO_PRESET else preset(preset_name).config


def request(form: SearchForm, folder: Path) -> Request:
    """Return the search that the form asks for, in a working directory.

    SizerError names a bad field, as the command line does. Corpora outside of the directory and device files
    are for the command line only.
    """
    base = base_config(form.preset)
    asked = base.to_dict()
    if form.device and name_parts(form.device)[0] not in load_devices():  # a device's file is a path, too
        raise UnknownName.of("device", form.device, load_devices())
    if form.minutes is not None and not 0 < form.minutes <= 100_000:
        raise InvalidQuantity(f"minutes: must be more than 0 and at most 100000, got {form.minutes:g}")
    given: dict[str, tuple[Any, str]] = {
        "device": (form.device, "--device"),
        "max_size_bytes": (_bytes(form.max_size, "max-size", base.budget.max_size_bytes), "--max-size"),
        "max_memory_bytes": (
            _bytes(form.max_memory, "max-memory", base.budget.max_memory_bytes),
            "--max-memory",
        ),
        "min_decode_tokens_per_s": (
            _rate(form.min_decode, base.budget.min_decode_tokens_per_s),
            "--min-decode",
        ),
        "steps": (form.steps, "--steps"),
        "sampler": (form.sampler, "--sampler"),
        "workers": (form.workers, "--workers"),
        "seed": (form.seed, "--seed"),
        "corpus": (_corpus(form.corpus, folder), "--corpus"),
    }
    if form.minutes is None:
        given["trials"] = (form.trials, "--trials")
    check_new_name(form.study)
    more = _other_fields(form, base, given["max_size_bytes"][0])
    changed = {name: value for name, (value, _) in given.items() if value != asked[name]}
    options = [f"--preset={form.preset}"] if form.preset != NO_PRESET else []
    options += [f"{given[name][1]}={_typed(name, value)}" for name, value in changed.items()]
    if form.minutes is not None:
        options.append(f"--minutes={form.minutes:g}")
    if form.keep_finalists != base.training.keep_finalists:
        changed["keep_finalists"] = form.keep_finalists
        options.append("--keep-finalists" if form.keep_finalists else "--no-keep-finalists")
    if more:
        options.insert(0, f"--config={config_file(form.study)}")
    return Request(base.changed(**more, **changed), tuple(options), form.study, toml_text(more))


def _other_fields(form: SearchForm, base: SearchConfig, max_size_bytes: int) -> dict[str, Any]:
    """Return the fields that differ from the preset's and that the form has no option for, by name."""
    usual = usual_space(max_size_bytes) if form.preset == NO_PRESET else {}
    typed = {name: typed_value(name, text) for name, text in form.others if text.strip()}
    deployed = {"runtime": form.engine, "context_tokens": form.context}
    others = {**usual, **{k: v for k, v in deployed.items() if v is not None}, **typed}
    if "vocab_size" in typed:
        others = tokenizer_for(others, base) | others
    held = base.to_dict()
    return {name: value for name, value in others.items() if _plain(value) != held[name]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


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
    """Return the corpus as typed, if it is the built-in one or in the working directory."""
    if typed.strip() in ("", BUILTIN):
        return BUILTIN
    path = inside(typed, folder, is_there=True)
    if path is None and ":" in typed:  # a field of rows follows the file's name
        path = inside(typed.rpartition(":")[0], folder, is_there=True)
    if path is None or typed.startswith("hf:"):
        raise InvalidFile(
            f"corpus: {typed[:200]!r} is no file or directory in the directory the explorer was started in; "
            "accepted: one in there, or empty for the built-in text (`sizer search run --corpus` takes any)"
        )
    return typed
