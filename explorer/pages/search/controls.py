"""Controls of the search page: its view, the studies on it, and the form of a new search."""

from __future__ import annotations

from typing import Any

from explorer.pages.search.request import NO_PRESET, base_config
from explorer.pages.search.space import space_controls
from explorer.state import Choice, Choices, Control, Flag, Number, PageState, Text, Values
from explorer.widgets import deployment
from explorer.widgets.device_choice import device_choice
from explorer.widgets.limits import size_text
from search.config.config import SAMPLERS, SearchConfig
from search.config.presets import presets
from sizer.devices.catalogue import load_devices, name_parts

KEYS = "search_"
START, LIST, WATCH, COMPARE = "Start", "Studies", "Watch", "Compare"
BY_STEPS, BY_TIME = "models and steps", "minutes"
_PRESET_LIMIT = "Empty: the preset's limit, or none."

VIEW = Choice(f"{KEYS}view", "View", START, (START, LIST, WATCH, COMPARE))
STUDY = Text(f"{KEYS}study", "Study", "")
FILTER = Text(f"{KEYS}filter", "Filter", "")
SHOW_ARCHIVED = Flag(f"{KEYS}archived", "Archived too", False)
SHOW_DECISIONS = Flag(
    f"{KEYS}decided", "Decisions", False, "How many choices each study settles: some seconds a study, once."
)
STUDIES = Choices(f"{KEYS}studies", "Studies", (), (), free=True, repeated=True)

# Fields of the form; the first values of most are those of the preset.
_FIRST = SearchConfig()
PRESET = Choice(
    f"{KEYS}preset",
    "Preset",
    NO_PRESET,
    (NO_PRESET, *presets()),
    "Sets the fields, the space and the training.",
)
_DEVICES = Choice(f"{KEYS}device", "Device", _FIRST.budget.device or "", tuple(load_devices()))
DEVICE = device_choice(KEYS)._replace(device=_DEVICES)
MAX_SIZE = Text(f"{KEYS}max_size", "Max file size", "", "Such as 2MB or 800KB.")
MAX_MEMORY = Text(f"{KEYS}max_memory", "Memory limit", "", f"Such as 300MB. {_PRESET_LIMIT}")
MIN_DECODE = Text(f"{KEYS}min_decode", "Min decode speed (tok/s)", "", f"Such as 100. {_PRESET_LIMIT}")
LENGTH = Choice(f"{KEYS}length", "Length", BY_STEPS, (BY_STEPS, BY_TIME))
TRIALS = Number(f"{KEYS}trials", "Models to train", _FIRST.training.trials, 1, 100_000, 1)
STEPS = Number(
    f"{KEYS}steps",
    "Steps",
    _FIRST.training.steps,
    1,
    10_000_000,
    100,
    "Of the final rung; rungs of a third and a ninth of these steps precede it, from 1,000 steps on.",
)
MINUTES = Number(
    f"{KEYS}minutes",
    "Minutes",
    30.0,
    0.5,
    100_000.0,
    0.5,
    "As many models of the preset's steps as the time allows; fewer steps if that is few models.",
)
SAMPLER = Choice(f"{KEYS}sampler", "Sampler", _FIRST.training.sampler, SAMPLERS, "Chooses the next model.")
WORKERS = Number(
    f"{KEYS}workers",
    "Workers",
    _FIRST.training.workers,
    1,
    512,
    1,
    "Models trained at a time, each on its own cores.",
)
SEED = Number(f"{KEYS}seed", "Seed", _FIRST.training.seed, 0, 2**31 - 1, 1)
NAME = Text(f"{KEYS}name", "Name", "", "Empty: the next free search-N.")
CORPUS = Text(
    f"{KEYS}corpus",
    "Text to train on",
    "",
    "A file or directory in the directory that the explorer was started in; append :FIELD to name the field "
    "of rows. Empty: the sources of this Python's library.",
)
KEEP = Flag(
    f"{KEYS}keep_finalists",
    "Keep the finalists' weights",
    True,
    "Writes the weights of the last models to runs/NAME/finalists, for `sizer export`.",
)
RUNTIME = deployment.RUNTIME._replace(key=f"{KEYS}engine")
CONTEXT = deployment.CONTEXT._replace(key=f"{KEYS}context", low=32)
# fields of a search that have a control above, under its own name
_OWN = frozenset(
    (
        *("device", "max_size_bytes", "max_memory_bytes", "min_decode_tokens_per_s", "runtime"),
        *("context_tokens", "trials", "steps", "sampler", "workers", "seed", "corpus", "keep_finalists"),
        *("train_on", "teacher"),  # for the command line: what this machine has, and a path
    )
)
SPACE = space_controls(_OWN)
_FORM: tuple[Control, ...] = (
    PRESET,
    *DEVICE.controls,
    *(MAX_SIZE, MAX_MEMORY, MIN_DECODE, RUNTIME, CONTEXT, LENGTH, TRIALS, STEPS, MINUTES),
    *(SAMPLER, WORKERS, SEED, NAME, CORPUS, KEEP),
    *SPACE,
)

_OF_LIST = {FILTER.key, SHOW_ARCHIVED.key, SHOW_DECISIONS.key}


def preset_values(values: Values) -> dict[str, Any]:
    """Return the values that the chosen preset gives the form."""
    config = base_config(values[PRESET.key])
    rate = config.budget.min_decode_tokens_per_s
    return {
        **_device_values(config.budget.device),
        MAX_SIZE.key: size_text(config.budget.max_size_bytes),
        MAX_MEMORY.key: size_text(config.budget.max_memory_bytes),
        MIN_DECODE.key: "" if rate is None else f"{rate:g}",
        TRIALS.key: config.training.trials,
        STEPS.key: config.training.steps,
        SAMPLER.key: config.training.sampler,
        WORKERS.key: config.training.workers,
        SEED.key: config.training.seed,
        RUNTIME.key: config.budget.runtime,
        CONTEXT.key: config.budget.context_tokens,
    }


def _device_values(name: str | None) -> dict[str, Any]:
    """Return the values of the device's controls for the name that a preset has, RAM and backend in it."""
    base, ram, backend = (None, None, None) if name is None else name_parts(name)
    return {DEVICE.device.key: base, DEVICE.ram.key: ram or "", DEVICE.backend.key: backend or ""}


def _unused(values: Values) -> set[str]:
    """Return the keys of what the view does not show, and of the name, which only one study can have."""
    if values[VIEW.key] == START:
        return {
            STUDY.key,
            STUDIES.key,
            NAME.key,
            *_OF_LIST,
            (TRIALS if values[LENGTH.key] == BY_TIME else MINUTES).key,
        }
    form = {control.key for control in _FORM}
    if values[VIEW.key] == LIST:
        return form | {STUDY.key, STUDIES.key}
    return form | _OF_LIST | {(STUDIES if values[VIEW.key] == WATCH else STUDY).key}


STATE = PageState(
    prefix=KEYS,
    controls=(VIEW, STUDY, STUDIES, FILTER, SHOW_ARCHIVED, SHOW_DECISIONS, *_FORM),
    firsts=preset_values,
    corrections=DEVICE.corrections,
    unused=_unused,
)
