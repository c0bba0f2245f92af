"""Searches guided by the law against random ones, at equal trained tokens: hypervolume of what they find.

    python benchmarks/search/guided.py FOLDER [--minutes M] [--seeds 5] [--workers 2] [--out docs/guided.md]

For each seed a guided search of tiny models under a Raspberry Pi 5 budget, at the product's defaults, then a
search at random points with the same rungs, which gets more models until it has trained at least as many
tokens. --minutes trains fewer models and --max-size smaller ones. --dry-run prints how long all
will take and trains nothing. What was trained stays in FOLDER: stopped or killed, the same command resumes.
With --out docs/guided.md the page is written there and its figure to docs/images/guided.svg. With
--keep docs/studies.db copies the first seed's two studies there.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import optuna
from rich.console import Console

from benchmarks.search.guided_figure import guided_figure
from reports.text.trust import trust_table
from search.analysis.frontier import frontier
from search.analysis.reliability import control_hypervolumes, rung_trust
from search.config.config import SearchConfig
from search.run import runner
from search.run.forecast import forecast, step_seconds, within
from search.run.progress import SearchProgress
from search.store.results import SearchResult
from search.store.study import list_studies, load_result
from sizer.errors import StudyError
from sizer.units import format_seconds, parse_bytes

BASE = SearchConfig.build(
    device="raspberry-pi-5",
    max_size_bytes=1_000_000,
    max_memory_bytes=200_000_000,
    min_decode_tokens_per_s=100,
)
_MOST_EXTRA = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A guided search and its control."""

    seed: int
    guided: SearchResult
    control: SearchResult

    @property
    def hypervolumes(self) -> tuple[float, float]:
        """Of the guided search and of the control, from one corner."""
        return control_hypervolumes(self.guided, self.control)


def tokens(result: SearchResult) -> int:
    """Tokens that a study trained on, all of its runs."""
    return sum(r.proxy.trained_tokens for r in result.records if r.proxy and r.repeats is None)


def minutes(result: SearchResult) -> float:
    """Minutes of training and scoring, those of workers side by side added up."""
    return sum(r.proxy.wall_s for r in result.records if r.proxy and r.repeats is None) / 60


def _tell(progress: SearchProgress) -> None:
    if progress.step in (0, progress.steps):
        share = progress.done_steps / max(1, progress.total_steps)
        print(f"{progress.study}: {progress.trained}/{progress.wanted} models, {share:.0%}", file=sys.stderr)


def searched(config: SearchConfig, name: str, storage: str, trials: int | None = None) -> SearchResult:
    """The study, begun or gone on with to its end."""
    try:
        known = list_studies(storage)
    except StudyError:
        known = ()
    if name in known:
        return runner.resume(name, storage=storage, trials=trials, hook=_tell)[0]
    return runner.run(config, name=name, storage=storage, hook=_tell)[0]


def pair(config: SearchConfig, seed: int, storage: str) -> Pair:
    """One seed's guided search and its control."""
    config = config.changed(seed=seed)
    guided = searched(config, f"guided-{seed}", storage)
    trials = config.training.trials
    control = searched(config.changed(sampler="random"), f"random-{seed}", storage)
    while tokens(control) < tokens(guided) and trials < config.training.trials + _MOST_EXTRA:
        trials += 1
        control = searched(config, f"random-{seed}", storage, trials)
    return Pair(seed=seed, guided=guided, control=control)


def _at_a_time(workers: int) -> str:
    return "one model at a time, on one core" if workers == 1 else f"{workers} models at a time"


def _trust(result: SearchResult, control: SearchResult | None) -> str:
    console = Console(width=110, color_system=None)
    with console.capture() as captured:
        console.print(trust_table(result, rung_trust(result), control))
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def page(config: SearchConfig, pairs: list[Pair]) -> str:
    """The comparison as a Markdown page."""
    better = sum(p.hypervolumes[0] > p.hypervolumes[1] for p in pairs)
    lines = [
        "# Guided against random search",
        "",
        "Made by `python benchmarks/search/guided.py`; not to be edited.",
        "",
        f"Budget: Raspberry Pi 5, file up to {config.budget.max_size_bytes / 1e6:g} MB, memory up to 200 MB, "
        f"at least 100 tokens/s. {config.training.trials} models each, rungs as `sizer search run --steps "
        f"{config.training.steps}` with "
        f"`lowest_rung_steps = {config.training.lowest_rung_steps}`; "
        f"{_at_a_time(config.training.workers)}. The control takes "
        "points at random, without hand-made starts, and gets more models until it has trained at least as "
        "many tokens. Hypervolume is that of the finalists, log bytes by bits per byte, from a corner a "
        "tenth beyond the worst of both.",
        "",
        "![Finalists of the searches](images/guided.svg)",
        "",
        "| seed | tokens guided | tokens random | minutes of workers | hypervolume guided | random | gain |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in pairs:
        ours, theirs = p.hypervolumes
        gain = f"{ours / theirs - 1:+.1%}" if theirs > 0 else "-"
        lines.append(
            f"| {p.seed} | {tokens(p.guided) / 1e6:.2f} M | {tokens(p.control) / 1e6:.2f} M "
            f"| {minutes(p.guided):.1f} and {minutes(p.control):.1f} | {ours:.4f} | {theirs:.4f} | {gain} |"
        )
    gains = [a / b - 1 for a, b in (p.hypervolumes for p in pairs) if b > 0]
    lines += ["", f"Better than its control: {better} of {len(pairs)}; median gain {median(gains):+.1%}.", ""]
    for p in pairs:
        for kind, study in (("guided", p.guided), ("random", p.control)):
            points = ", ".join(
                f"{r.file_bytes / 1e3:.0f} kB {r.proxy.val_bits_per_byte:.3f}"
                for r in frontier(study)
                if r.proxy and r.proxy.val_bits_per_byte
            )
            lines.append(f"- seed {p.seed}, {kind}: {points}.")
    for p in pairs:
        lines += ["", f"Seed {p.seed}, `sizer search trust guided-{p.seed} --control random-{p.seed}`:", ""]
        lines += ["```", _trust(p.guided, p.control), "```"]
    return "\n".join([*lines, ""])


def keep(storage: str, names: tuple[str, ...], path: Path) -> None:
    """Copy studies into a database of their own, without the names of the machine and process."""
    path.unlink(missing_ok=True)
    for name in names:
        optuna.copy_study(from_study_name=name, from_storage=storage, to_storage=f"sqlite:///{path}")
    database = sqlite3.connect(path)
    with database:
        for table in ("trial_user_attributes", "study_user_attributes"):
            database.execute(f"DELETE FROM {table} WHERE key = 'sizer_owner'")
    database.execute("VACUUM")
    database.close()


def resized(config: SearchConfig, minutes: float | None, step_s: float, storage: str) -> SearchConfig:
    """Return the configuration with as many models as are stored, else as fit into a time.

    Steps stay those of the product: orders of shorter runs have the wrong sign.
    """
    try:
        return config.changed(trials=load_result("guided-0", storage).trials_requested)
    except StudyError:
        if minutes is None:
            return config
    fitting = within(config, 60 * minutes, step_s, keep_trials=False)
    if fitting.training.steps < config.training.steps:
        least = forecast(config.changed(trials=fitting.training.trials), step_s).seconds
        raise SystemExit(
            f"minutes: {fitting.training.trials} models of {config.training.steps:,} steps take "
            f"{least / 60:.0f} minutes here, got {minutes:g}; accepted: at least that, or a smaller "
            "--max-size"
        )
    return fitting


def main() -> None:
    """Search, print the page, write it where asked."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--minutes", type=float, help="of each guided search; default: at all defaults")
    arguments.add_argument("--max-size", default="1MB", help="largest file of a model")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--out", type=Path)
    arguments.add_argument("--keep", type=Path, help="database to copy the first seed's two studies to")
    arguments.add_argument("--dry-run", action="store_true", help="estimate the time and train nothing")
    given = arguments.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{given.folder}/sizer.db"
    config = BASE.changed(workers=given.workers, max_size_bytes=parse_bytes(given.max_size))
    step_s = step_seconds(config)
    config = resized(config, given.minutes, step_s, storage)
    expected = forecast(config, step_s)
    print(
        f"{2 * given.seeds} searches, each {expected.text()}; all about "
        f"{format_seconds(2 * given.seeds * expected.seconds)} if nothing is stored",
        file=sys.stderr,
    )
    if given.dry_run:
        return
    pairs = []
    for seed in range(given.seeds):
        pairs.append(pair(config, seed, storage))
        text = page(config, pairs)
        print(text)
        if given.out is not None:
            given.out.write_text(text, encoding="utf-8")
            figure = given.out.parent / "images" / f"{given.out.stem}.svg"
            figure.parent.mkdir(exist_ok=True)
            seeds = [(f"seed {p.seed}", p.guided, p.control) for p in pairs]
            figure.write_text(guided_figure(seeds), encoding="utf-8")
    if given.keep is not None:
        keep(storage, ("guided-0", "random-0"), given.keep)


if __name__ == "__main__":
    main()
