"""The study: Optuna storage, ask and tell, resume after a kill; the only place that knows Optuna's ways."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from search.law.pareto import objectives
from search.space.config import SearchConfig, stored_config
from search.store.folders import STORAGE_VARIABLE, runs_folder, study_folder
from search.store.kept import SQLITE, keep_beside, kept_files, sqlite_path
from search.store.owner import is_alive, this_process
from search.store.records import proxy_from_dict, proxy_to_dict, record_from_json, record_to_json
from search.store.results import ProxyResult, SearchResult, TrialRecord, TrialStatus, combined
from search.store.versions import versions
from sizer.errors import InvalidFile, StudyError

optuna.logging.set_verbosity(optuna.logging.WARNING)

_CONFIG, _SETTINGS, _CORPUS = "sizer_config", "sizer_settings", "sizer_corpus"
_RECORD, _OWNER, _RUN = "sizer_record", "sizer_owner", "sizer_run"
_VERSIONS = "sizer_versions"

# A locked database is waited for this long in all before the run gives up and keeps the result beside it.
_LOCK_WAIT_S = 5.0
_CREATIONS, _MADE_AT_ONCE = 4, re.compile("UNIQUE constraint failed|already exists")  # of a new storage
_ATTEMPTS = 4

_T = TypeVar("_T")


def default_storage() -> str:
    """URL in the environment's SIZER_STORAGE, else of the SQLite file in the working directory's runs/."""
    return os.environ.get(STORAGE_VARIABLE) or f"{SQLITE}runs/sizer.db"


def _reason(error: BaseException) -> str:
    """One short line of what a storage error is about."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    original = getattr(cause, "orig", None) or cause
    return str(original).strip().splitlines()[0] if str(original).strip() else type(original).__name__


def _is_ready(path: Path) -> bool:
    """Whether a database file is there with Optuna's tables: reading it while they are made would make them
    a second time, and fail the search that makes them; and opening another program's would add them to it."""
    try:
        if not path.is_file():
            return False
    except OSError:  # a name that is too long, or a folder that may not be looked into
        return False
    with closing(
        sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_LOCK_WAIT_S)
    ) as file:
        try:
            return file.execute("SELECT 1 FROM alembic_version, version_info").fetchone() is not None
        except sqlite3.OperationalError as error:
            return "no such table" not in str(error)  # locked: there is something in it
        except sqlite3.DatabaseError:
            return True  # not a database: said when it is opened


@contextmanager
def _storage_errors(storage: str) -> Iterator[None]:
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise StudyError(
            f"storage: {storage!r} cannot be used: {_reason(error)}; accepted: a writable SQLite file "
            "(sqlite:///runs/sizer.db) or another Optuna storage URL"
        ) from error
    except ImportError as error:
        raise StudyError(f"storage: {storage!r} needs a database driver that is not installed") from error


def _open_storage(storage: str, *, create: bool) -> BaseStorage:
    path = sqlite_path(storage)
    if path is not None:
        if not create and not _is_ready(path):
            raise StudyError(
                f"storage: there is no study file {str(path)!r} yet; `sizer search run` makes one"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(
                f"storage: cannot make the directory {str(path.parent)!r}: {error.strerror}; "
                "accepted: a directory you may write to"
            ) from None
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise StudyError(f"storage: {str(path)!r} is not writable; accepted: a file you may write to")
    with _storage_errors(storage), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # No pool: an idle connection of one process must not hold the file against another.
        of_file: dict[str, Any] = {"connect_args": {"timeout": _LOCK_WAIT_S}, "poolclass": NullPool}
        options = of_file if path is not None else {}
        for _ in range(_CREATIONS - 1):
            try:
                return RDBStorage(storage, engine_kwargs=options)
            except (IntegrityError, OperationalError) as error:
                # another process makes the same tables at this moment: in a second they are there
                if not _MADE_AT_ONCE.search(str(error)):
                    raise
                time.sleep(1.0)
        return RDBStorage(storage, engine_kwargs=options)


def list_studies(storage: str) -> tuple[str, ...]:
    """Names of the studies in a storage, sorted; StudyError if there is no such storage."""
    opened = _open_storage(storage, create=False)
    with _storage_errors(storage):
        return tuple(sorted(optuna.get_all_study_names(opened)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStudy:
    """A study opened for running: its Optuna study, what was asked, and where it is stored."""

    name: str
    storage: str
    config: SearchConfig
    optuna_study: optuna.Study

    @property
    def settings(self) -> dict[str, str | int | float]:
        """How the study is trained, fixed when it was made."""
        settings: dict[str, str | int | float] = json.loads(self.optuna_study.user_attrs[_SETTINGS])
        return settings

    @property
    def checkpoints(self) -> Path:
        """Folder of runs that are not at their end."""
        return runs_folder(self.storage) / self.name / "checkpoints"

    @property
    def finalists(self) -> Path:
        """Folder of the weights of runs at their end, where they are kept."""
        return self.checkpoints.parent / "finalists"

    def optuna_trial(self, number: int) -> FrozenTrial:
        """A trial as Optuna has it."""
        with _storage_errors(self.storage):
            return self.optuna_study.get_trials(deepcopy=False)[number]

    @property
    def num_asked(self) -> int:
        """Trials asked for so far, which is the number of the next."""
        with _storage_errors(self.storage):
            trials = self.optuna_study.get_trials(deepcopy=False)
            return sum(trial.state is not TrialState.WAITING for trial in trials)

    def begin(self, params: dict[str, Any]) -> optuna.Trial:
        """The next trial, at these parameters; one that was put in the queue and never begun goes first."""
        study = self.optuna_study
        with _storage_errors(self.storage):
            if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                study.enqueue_trial(params)
            study.sampler = optuna.samplers.RandomSampler(seed=self.config.seed)  # has nothing left to choose
            trial = study.ask()
            trial.set_user_attr(_OWNER, this_process())
        return trial

    def left_behind(self) -> tuple[optuna.Trial, ...]:
        """Trials begun by a process that is gone, now this one's; they go on from their checkpoints."""
        study, found = self.optuna_study, []
        with _storage_errors(self.storage):
            for stored in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if not is_alive(stored.user_attrs.get(_OWNER)):
                    found.append(optuna.Trial(study, stored._trial_id))
                    found[-1].set_user_attr(_OWNER, this_process())
        return tuple(sorted(found, key=lambda trial: trial.number))

    def finished(self) -> tuple[tuple[FrozenTrial, TrialRecord], ...]:
        """Every finished trial as Optuna has it, with its record of the first rung."""
        with _storage_errors(self.storage):
            trials = self.optuna_study.get_trials(deepcopy=False)
            return tuple((trials[record.number], record) for record in _records(trials))

    def tell(self, record: TrialRecord) -> None:
        """Store a finished trial. If the storage refuses, keep the record in a file and raise StudyError."""
        text = record_to_json(record)
        try:
            self._patiently(lambda: self._write(record, text))
        except StudyError as error:
            kept = keep_beside(self.storage, self.name, str(record.number), text)
            raise StudyError(
                f"{error}; the result of trial {record.number} is kept in {kept} and "
                f"`sizer search resume {self.name}` reads it"
            ) from None

    def tell_run(self, number: int, run: ProxyResult) -> None:
        """Store a later run of a finished trial: another rung or seed."""
        text = json.dumps(proxy_to_dict(run), allow_nan=False)
        try:
            self._patiently(lambda: self._write_run(number, run.rung, run.seed, text))
        except StudyError as error:
            wrapped = json.dumps({"number": number, "run": json.loads(text)})
            kept = keep_beside(self.storage, self.name, f"{number}-{run.rung}-{run.seed}", wrapped)
            raise StudyError(
                f"{error}; the result of trial {number}, rung {run.rung} is kept in {kept} and "
                f"`sizer search resume {self.name}` reads it"
            ) from None

    def _write_run(self, number: int, rung: int, seed: int, text: str) -> None:
        with _storage_errors(self.storage):
            self.optuna_study.set_user_attr(f"{_RUN}/{number}/{rung}/{seed}", text)

    def let_go(self) -> None:
        """Trials under way may be gone on with by whoever resumes."""
        with _storage_errors(self.storage):
            for stored in self.optuna_study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if stored.user_attrs.get(_OWNER) == this_process():
                    optuna.Trial(self.optuna_study, stored._trial_id).set_user_attr(_OWNER, None)

    def _write(self, record: TrialRecord, text: str) -> None:
        study = self.optuna_study
        with _storage_errors(self.storage):
            stored = study.get_trials(deepcopy=False)[record.number]
            if not stored.state.is_finished():
                optuna.Trial(study, stored._trial_id).set_user_attr(_RECORD, text)
            if record.status is TrialStatus.COMPLETE:
                study.tell(record.number, values=objectives(record), skip_if_finished=True)
            else:
                study.tell(record.number, state=TrialState.FAIL, skip_if_finished=True)

    def _patiently(self, write: Callable[[], _T]) -> _T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return write()
            except StudyError:
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def recover(self) -> int:
        """After a kill: take in results kept beside the storage and records stored but not told; how many."""
        taken = 0
        for path in kept_files(self.storage, self.name):
            self._patiently(partial(self._take_in, path))
            path.unlink()
            taken += 1
        with _storage_errors(self.storage):
            for trial in self.optuna_study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                # killed between storing the record and telling Optuna
                if _RECORD in trial.user_attrs and not is_alive(trial.user_attrs.get(_OWNER)):
                    self._write(record_from_json(trial.user_attrs[_RECORD]), trial.user_attrs[_RECORD])
                    taken += 1
        return taken

    def _take_in(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
        if "run" in document:
            run = proxy_from_dict(document["run"])
            self._write_run(document["number"], run.rung, run.seed, json.dumps(document["run"]))
        else:
            self._write(record_from_json(text), text)

    def result(self) -> SearchResult:
        """Everything stored so far."""
        with _storage_errors(self.storage):
            return _result(self.optuna_study, self.config)


def create_study(
    config: SearchConfig,
    *,
    name: str | None,
    storage: str,
    settings: dict[str, str | int | float],
    corpus: dict[str, str | int],
) -> OpenStudy:
    """A new study; without a name the next free search-N. StudyError if the name is taken or a path."""
    if name is not None:
        study_folder(name, storage)
    opened = _open_storage(storage, create=True)
    with _storage_errors(storage), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        known = set(optuna.get_all_study_names(opened))
        chosen = name or next(f"search-{i}" for i in range(1, len(known) + 2) if f"search-{i}" not in known)
        try:
            study = optuna.create_study(
                storage=opened, study_name=chosen, directions=["minimize", "minimize"]
            )
        except DuplicatedStudyError:
            raise _taken(chosen) from None
        study.set_metric_names(["file_bytes", "val_bits_per_byte"])
        study.set_user_attr(_CONFIG, json.dumps(config.to_dict()))
        study.set_user_attr(_SETTINGS, json.dumps(settings))
        study.set_user_attr(_CORPUS, json.dumps(corpus))
        study.set_user_attr(_VERSIONS, json.dumps(versions()))
    return OpenStudy(name=chosen, storage=storage, config=config, optuna_study=study)


def check_new_study(name: str | None, storage: str) -> None:
    """Raise StudyError where `create_study` would: a storage that cannot be used, a name that is taken."""
    if name is not None:
        study_folder(name, storage)
    opened = _open_storage(storage, create=True)
    with _storage_errors(storage):
        if name is not None and name in optuna.get_all_study_names(opened):
            raise _taken(name)


def _taken(name: str) -> StudyError:
    return StudyError(
        f"study: {name!r} exists already; go on with `sizer search resume {name}` or give another --study"
    )


def open_study(name: str, storage: str) -> OpenStudy:
    """An existing study; StudyError lists the studies there are."""
    opened = _open_storage(storage, create=False)
    with _storage_errors(storage):
        names = sorted(optuna.get_all_study_names(opened))
        if name not in names:
            listed = ", ".join(names) or "none"
            raise StudyError(f"study: {name!r} does not exist in {storage}; there are: {listed}")
        study = optuna.load_study(study_name=name, storage=opened)
        if _CONFIG not in study.user_attrs:
            raise StudyError(
                f"study: {name!r} was not made by sizer; accepted: a study of `sizer search run`"
            )
        config = stored_config(json.loads(study.user_attrs[_CONFIG]), where=f"study {name}")
    return OpenStudy(name=name, storage=storage, config=config, optuna_study=study)


def load_result(name: str, storage: str) -> SearchResult:
    """A study read back as plain data."""
    return open_study(name, storage).result()


def corpus_digest(study: OpenStudy) -> str:
    """Digest of the text the study was started on."""
    return str(json.loads(study.optuna_study.user_attrs[_CORPUS])["digest"])


def _result(study: optuna.Study, config: SearchConfig) -> SearchResult:
    corpus = json.loads(study.user_attrs[_CORPUS])
    return SearchResult(
        study=study.study_name,
        device=config.device,
        runtime=config.runtime,
        budget={
            "max_size_bytes": config.max_size_bytes,
            "max_memory_bytes": config.max_memory_bytes,
            "min_decode_tokens_per_s": config.min_decode_tokens_per_s,
        },
        corpus=str(corpus["name"]),
        corpus_digest=str(corpus["digest"]),
        trials_requested=config.trials,
        settings=json.loads(study.user_attrs[_SETTINGS]),
        records=tuple(_with_runs(_records(study.get_trials(deepcopy=False)), study.user_attrs)),
        config=config,
        versions=json.loads(study.user_attrs.get(_VERSIONS, "{}")),
    )


def _with_runs(records: Iterator[TrialRecord], stored: dict[str, Any]) -> Iterator[TrialRecord]:
    """Records with what later rungs and other seeds said."""
    later: dict[int, list[ProxyResult]] = {}
    for key, text in stored.items():
        if key.startswith(f"{_RUN}/"):
            later.setdefault(int(key.split("/")[1]), []).append(proxy_from_dict(json.loads(text)))
    for record in records:
        if record.proxy is None or record.repeats is not None:
            yield record
            continue
        runs = (record.proxy, *sorted(later.get(record.number, ()), key=lambda run: (run.rung, run.seed)))
        yield replace(record, proxy=combined(runs), runs=runs)


def _records(trials: list[FrozenTrial]) -> Iterator[TrialRecord]:
    for trial in trials:
        text = trial.user_attrs.get(_RECORD)
        if text is not None and trial.state.is_finished():
            try:
                yield record_from_json(text)
            except InvalidFile as error:
                raise StudyError(f"study: trial {trial.number}: {error}") from None
