"""Reader of llama-bench output from another machine, as samples of one set-up to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sizer.calibration.bench_known import KnownModel, known_model
from sizer.calibration.bench_models import PREFIX
from sizer.calibration.bench_runs import ALL, NO, BenchRun, pick, shown_value
from sizer.calibration.bench_text import FIELD, read_rows
from sizer.calibration.samples import Sample
from sizer.errors import InvalidFile

# Each takes a tenth of a second to recognize.
_MOST_MODELS = 200
# Repeats that differ by more are those of a machine that did something else, too, or grew hot.
_STEADY_SPREAD = 0.1
_UNSTEADY_SHARE = 0.25


class BenchResults(NamedTuple):
    """Contents of a llama-bench file: samples, machine and build, and files of unknown models."""

    samples: tuple[Sample, ...]
    processor: str
    backend: str
    setup: str  # in words, such as "4 threads, flash attention on"
    build: str
    date: str
    repeats: int  # 0 where only their mean is known
    unknown: tuple[str, ...]  # left out
    similar: tuple[str, ...]  # taken as a similar shape with their bytes and weights
    doubts: tuple[str, ...]  # why the speeds are not to be trusted


def read_llama_bench(path: Path, *, wanted: Mapping[str, str] | None = None) -> BenchResults:
    """Read the samples of a llama-bench file; `wanted` picks one of several set-ups in it, by `SETTINGS`.

    Raise InvalidFile for a file that is cut off, is something else, has several set-ups or no known model.
    """
    found = read_rows(path)
    every = [BenchRun(path.name, number, row) for number, row in enumerate(found.rows, start=1)]
    first_of = {run.model: run for run in every}
    if len(first_of) > _MOST_MODELS:
        raise InvalidFile(
            f"{FIELD}: {path.name} holds {len(first_of)} models; accepted: up to {_MOST_MODELS}"
        )
    known = {key: known_model(run) for key, run in first_of.items()}
    with_settings = [(run, run.settings(_layers(known[run.model]))) for run in every]
    runs, settings = pick(path.name, with_settings, wanted or {})
    samples = tuple(s for run in runs if (s := _sample(run, known[run.model])) is not None)
    names = {run.model: run.file_name for run in runs}
    unknown = tuple(dict.fromkeys(name for key, name in names.items() if known[key] is None))
    if not any(s.decode_s for s in samples):
        raise _no_decode_speed(path.name, runs, unknown)
    last = runs[-1]
    on_gpu = last.backend != "cpu"
    return BenchResults(
        samples=samples,
        processor=shown_value((last.text("gpu_info") if on_gpu else last.text("cpu_info")) or found.device),
        backend=last.backend,
        setup=_setup(settings),
        build=shown_value(last.text("build_commit")),
        date=shown_value(last.text("test_time")[:10]),
        repeats=min(run.repeats for run in runs),
        unknown=unknown,
        similar=tuple(
            dict.fromkeys(
                name for key, name in names.items() if (m := known[key]) is not None and m.is_similar
            )
        ),
        doubts=_doubts(runs, settings, on_gpu=on_gpu),
    )


def _layers(known: KnownModel | None) -> int | None:
    return None if known is None or known.is_similar else known.layers


def _sample(run: BenchRun, known: KnownModel | None) -> Sample | None:
    """Return the run as a sample; None where prompt and generation are one time."""
    if known is None or (run.n_prompt > 0) == (run.n_gen > 0):
        return None
    if run.n_gen:
        return Sample(
            model=known.model,
            depth_tokens=run.n_depth + run.n_gen / 2,
            decode_s=run.seconds / run.n_gen,
        )
    return Sample(
        model=known.model,
        prompt_tokens=run.n_prompt,
        earlier_tokens=run.n_depth,
        ubatch_tokens=run.n_ubatch,
        prefill_s=run.seconds,
    )


def _no_decode_speed(origin: str, runs: Sequence[BenchRun], unknown: Sequence[str]) -> InvalidFile:
    """Return the error of a file without a generation speed, with the reason."""
    tests = list(dict.fromkeys(run.test for run in runs))
    printed = ", ".join(tests[:4])
    generating = [run for run in runs if run.n_gen]
    if not generating:
        why, accepted = f"only prompts ({printed})", "runs with -n 128, too (tg128)"
    elif all(run.n_prompt for run in generating):
        why = f"no run that only generates ({printed}), and one time of both is no speed of either"
        accepted = "runs with -p 512 -n 128 (pp512, tg128) in place of -pg"
    else:
        why = f"no generation speed of a model whose shape is known; not known: {', '.join(unknown[:3])}"
        accepted = (
            f"models of `sizer models`, other models without experts, and files that "
            f"`sizer export-bench-models` writes ({PREFIX}-*.gguf)"
        )
    return InvalidFile(f"{FIELD}: {origin} has {why}; accepted: {accepted}")


def _setup(settings: Mapping[str, str]) -> str:
    """Return the settings that a reader of the profile wants to know, in words."""
    layers, moe = settings["gpu_layers"], settings["cpu_moe"]
    words = [
        f"{settings['threads']} threads" if settings["threads"] != "not stated" else "threads not stated",
        f"flash attention {settings['flash_attention']}",
        *([f"cache {settings['cache_type']}"] if settings["cache_type"] != "f16" else []),
        *([f"{layers} layers on the GPU"] if layers not in (NO, ALL) else []),
        *([f"experts of {moe} layers on the CPU"] if moe != NO else []),
        *([f"micro-batches of {settings['ubatch_size']}"] if settings["ubatch_size"] != "512" else []),
        *([f"split by {settings['split_mode']}"] if settings["split_mode"] not in ("layer", "none") else []),
    ]
    return ", ".join(words)


def _doubts(runs: Sequence[BenchRun], settings: Mapping[str, str], *, on_gpu: bool) -> tuple[str, ...]:
    """Return why the speeds may not be those of the device, in words."""
    found = []
    unsteady = [run for run in runs if run.spread > _STEADY_SPREAD]
    if unsteady and len(unsteady) >= _UNSTEADY_SHARE * len(runs):
        worst = max(unsteady, key=lambda run: run.spread)
        found.append(
            f"repeats of {len(unsteady)} of {len(runs)} runs differ by more than {_STEADY_SPREAD:.0%} "
            f"({worst.test}: {worst.spread:.0%})"
        )
    if on_gpu and settings["gpu_layers"] != ALL:
        found.append(f"only {settings['gpu_layers']} layers ran on the GPU")
    if on_gpu and settings["cpu_moe"] != NO:
        found.append(f"the experts of {settings['cpu_moe']} layers ran on the CPU")
    return tuple(found)
