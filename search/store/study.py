"""The study: Optuna storage, ask and tell, resume after a kill; all use of Optuna's storage is here."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.config.config import SearchConfig
from search.config.reading import stored_config
from search.store import trial_rows
from search.store.fallback_files import (
    fallback_files,
    read_fallback,
    save_fallback,
    set_aside,
    without_password,
)
from search.store.folders import check_new_name, runs_folder, study_folder
from search.store.objective_values import metric_names, objective_values, study_directions
from search.store.patience import patiently
from search.store.process import this_process
from search.store.records import proxy_from_dict, proxy_to_dict, record_from_json, record_to_json
from search.store.results import ProxyResult, SearchResult, TrialRecord, TrialStatus
from search.store.storage import default_storage, open_storage, storage_errors, study_names
from search.store.stored_records import RECORD, RUN, damage_errors, later_runs, records_of, with_runs
from search.store.versions import versions
from sizer.errors import InvalidFile, StudyError

optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings come on top of the error that is raised

_CONFIG, _SETTINGS, _CORPUS = "sizer_config", "sizer_settings", "sizer_corpus"
_OWNER, _VERSIONS = "sizer_owner", "sizer_versions"
_LIMITS = ("max_size_bytes", "max_memory_bytes", "min_decode_tokens_per_s")

_T = TypeVar("_T")


def list_studies(storage: str) -> tuple[str, ...]:
    """List the names of the studies in a storage, sorted; StudyError if there is no such storage."""
    opened = open_storage(storage, create=False, write=False)
    with storage_errors(storage):
        return tuple(sorted(study_names(opened, storage)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStudy:
    """A study opened for running: its Optuna study, what was asked, and where it is stored."""

    name: str
    storage: str
    config: SearchConfig
    settings: Mapping[str, str | int | float]  # how the study is trained, fixed when it was made
    optuna_study: optuna.Study
    waits: bool = True  # for a storage that does not answer; whoever only reads gets the error at once

    def patiently(self, action: Callable[[], _T]) -> _T:
        """Return what an access to the storage returns, tried again while it does not answer."""

        def access() -> _T:
            with storage_errors(self.storage):
                return action()

        return patiently(access, self.storage) if self.waits else access()

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in some states by growing number; they must not be changed."""
        return self.patiently(lambda: trial_rows.trials_in(self._storage, self._study_id, *states))

    @property
    def checkpoints(self) -> Path:
        """Folder of runs that are not at their end."""
        return runs_folder(self.storage) / self.name / "checkpoints"

    @property
    def finalists(self) -> Path:
        """Folder of the weights of finished runs, where they are kept."""
        return self.checkpoints.parent / "finalists"

    def optuna_trial(self, number: int) -> FrozenTrial:
        """Return a trial as Optuna stores it."""
        return self.patiently(lambda: self._storage.get_trial(self._trial_id(number)))

    @property
    def _storage(self) -> BaseStorage:
        return self.optuna_study._storage

    def _trial_id(self, number: int) -> int:
        return trial_rows.trial_id_of(self._storage, self._study_id, number)

    @property
    def _study_id(self) -> int:
        return self.optuna_study._study_id

    @property
    def num_asked(self) -> int:
        """Trials asked for so far, which is the number of the next."""
        return self.patiently(lambda: trial_rows.count_started(self._storage, self._study_id))

    @property
    def queued(self) -> frozenset[int]:
        """Numbers of trials that an earlier version of this program put into the queue, not started yet."""
        return frozenset(trial.number for trial in self._trials(TrialState.WAITING))

    def begin(
        self,
        params: dict[str, Any],
        *,
        number: int | None = None,
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> optuna.Trial:
        """Start the next trial with these parameters; a queued trial that never started comes first.

        With their `distributions` the parameters are stored at once; without, as the trial is asked for them.
        """
        next_number = self.num_asked if number is None else number
        return self.patiently(lambda: self._begin(next_number, params, distributions or {}))

    def _begin(
        self, number: int, params: dict[str, Any], distributions: Mapping[str, BaseDistribution]
    ) -> optuna.Trial:
        """Start trial `number`, or take it up if an earlier try has started it without an answer."""
        try:
            stored = self._storage.get_trial(self._trial_id(number))
        except KeyError:
            template = _template(params, distributions or {})
            created = self._storage.create_new_trial(self._study_id, template_trial=template)
            return optuna.Trial(self.optuna_study, created)
        if stored.state is TrialState.WAITING:  # queued by an earlier version of this program
            self._storage.set_trial_state_values(stored._trial_id, TrialState.RUNNING)
        return self._take_over(stored._trial_id)

    def start(
        self,
        number: int,
        params: dict[str, Any],
        distributions: Mapping[str, BaseDistribution],
        record: TrialRecord | None = None,
    ) -> None:
        """Store a new trial in one write: as running, or with the record of one that is not trained."""

        def create() -> None:
            try:
                self._trial_id(number)  # an earlier try has stored it, without an answer
            except KeyError:
                state = TrialState.RUNNING if record is None else TrialState.FAIL
                kept = {} if record is None else {RECORD: record_to_json(record)}
                template = _template(params, distributions, state=state, attributes=kept)
                trial_rows.insert_trial(self._storage, self._study_id, number, template)

        self.patiently(create)

    def orphaned_trials(self) -> tuple[optuna.Trial, ...]:
        """Return trials of a process that died, now owned by this one; they resume from their checkpoints.

        The caller holds the study's lock and has started none itself: no other process runs one either,
        whatever name its host had.
        """
        return tuple(
            self.patiently(partial(self._take_over, stored._trial_id))
            for stored in self._trials(TrialState.RUNNING)
            if stored.user_attrs.get(_OWNER) != this_process()
        )

    def _take_over(self, trial_id: int) -> optuna.Trial:
        trial = optuna.Trial(self.optuna_study, trial_id)
        trial.set_user_attr(_OWNER, this_process())
        return trial

    def stored(self) -> Iterator[tuple[FrozenTrial, TrialRecord, TrialRecord]]:
        """Yield every finished trial, its record of the first rung, and the one with its later runs.

        Trials are read a page at a time, so that a resumed search holds no more than one that ran through.
        """
        storage, study = self._storage, self._study_id
        with damage_errors(self.name):
            runs = later_runs(self.patiently(lambda: self.optuna_study.user_attrs))
            for page in trial_rows.pages(self.patiently(lambda: trial_rows.trial_ids(storage, study))):
                for trial in self.patiently(partial(trial_rows.read_page, storage, study, page)):
                    for record in records_of([trial]):
                        yield trial, record, with_runs(record, runs)

    def tell(self, record: TrialRecord) -> None:
        """Store a finished trial. If the storage refuses, keep the record in a file and raise StudyError."""
        text = record_to_json(record)
        try:
            self.patiently(lambda: self._write(record, text))
        except StudyError as error:
            kept = save_fallback(self.storage, self.name, str(record.number), text)
            raise StudyError(
                f"{error}; the result of trial {record.number} is kept in {kept} and "
                f"`sizer search resume {self.name}` reads it"
            ) from None

    def tell_run(self, number: int, run: ProxyResult) -> None:
        """Store a later run of a finished trial: another rung or seed."""
        text = json.dumps(proxy_to_dict(run), allow_nan=False)
        try:
            self.patiently(lambda: self._write_run(number, run.rung, run.seed, text))
        except StudyError as error:
            wrapped = json.dumps({"number": number, "run": json.loads(text)})
            kept = save_fallback(self.storage, self.name, f"{number}-{run.rung}-{run.seed}", wrapped)
            raise StudyError(
                f"{error}; the result of trial {number}, rung {run.rung} is kept in {kept} and "
                f"`sizer search resume {self.name}` reads it"
            ) from None

    def _write_run(self, number: int, rung: int, seed: int, text: str) -> None:
        self.optuna_study.set_user_attr(f"{RUN}/{number}/{rung}/{seed}", text)

    def release(self) -> None:
        """Let whoever resumes the study take over its running trials."""
        with storage_errors(self.storage):
            for stored in trial_rows.trials_in(self._storage, self._study_id, TrialState.RUNNING):
                if stored.user_attrs.get(_OWNER) == this_process():
                    optuna.Trial(self.optuna_study, stored._trial_id).set_user_attr(_OWNER, None)

    def _write(self, record: TrialRecord, text: str) -> None:
        storage, trial = self._storage, self._trial_id(record.number)
        try:
            storage.set_trial_user_attr(trial, RECORD, text)
        except UpdateFinishedTrialError:  # by an earlier try, whose answer was lost
            return
        if record.status is TrialStatus.COMPLETE:
            values = objective_values(record, self.config)
            storage.set_trial_state_values(trial, TrialState.COMPLETE, values)
        else:
            storage.set_trial_state_values(trial, TrialState.FAIL)

    def recover(self) -> int:
        """Recover after a kill: read saved fallback files and records not yet reported; return how many."""
        taken = 0
        for path in fallback_files(self.storage, self.name):
            try:
                text = read_fallback(path)
                self.patiently(partial(self._take_in, text))
            except StudyError:
                raise
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                set_aside(path, str(error))
                continue
            path.unlink()
            taken += 1
        for trial in self._trials(TrialState.RUNNING):
            stored = trial.user_attrs.get(RECORD)
            # killed between storing the record and telling Optuna
            if stored is not None and trial.user_attrs.get(_OWNER) != this_process():
                self.patiently(partial(self._write, record_from_json(stored), stored))
                taken += 1
        return taken

    def _take_in(self, text: str) -> None:
        document = json.loads(text)
        if "run" not in document:
            self._write(record_from_json(text), text)
            return
        number, run = document["number"], proxy_from_dict(document["run"])
        if type(number) is not int or not 0 <= number < self.num_asked:
            raise InvalidFile(f"number: {number!r} is no trial of the study")
        self._write_run(number, run.rung, run.seed, json.dumps(document["run"]))

    def store_config(self) -> None:
        """Store what is asked of the study, after a resume has changed it."""
        text = json.dumps(self.config.to_dict())
        self.patiently(lambda: self.optuna_study.set_user_attr(_CONFIG, text))

    def result(self) -> SearchResult:
        """Return everything stored so far."""
        with damage_errors(self.name):
            return self.patiently(lambda: _result(self.optuna_study, self.config))


def _template(
    params: dict[str, Any],
    distributions: Mapping[str, BaseDistribution],
    *,
    state: TrialState = TrialState.RUNNING,
    attributes: Mapping[str, str] | None = None,
) -> FrozenTrial:
    return create_trial(
        state=state,
        params=params if distributions else {},
        distributions=dict(distributions),
        user_attrs={_OWNER: this_process(), **(attributes or {})},
        system_attrs={"fixed_params": params},
    )


def create_study(
    config: SearchConfig,
    *,
    name: str | None,
    storage: str,
    settings: dict[str, str | int | float],
    corpus: dict[str, str | int],
) -> OpenStudy:
    """Create a study, by default as the next free search-N. StudyError if the name is taken or a path."""
    if name is not None:
        study_folder(name, storage)
    opened = open_storage(storage, create=True, write=True)
    with storage_errors(storage), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        known = set(study_names(opened, storage))
        chosen = name or next(f"search-{i}" for i in range(1, len(known) + 2) if f"search-{i}" not in known)
        try:
            study = optuna.create_study(
                storage=opened, study_name=chosen, directions=study_directions(config)
            )
        except DuplicatedStudyError:
            raise _taken(chosen) from None
        study.set_metric_names(metric_names(config))
        study.set_user_attr(_CONFIG, json.dumps(config.to_dict()))
        study.set_user_attr(_SETTINGS, json.dumps(settings))
        study.set_user_attr(_CORPUS, json.dumps(corpus))
        study.set_user_attr(_VERSIONS, json.dumps(versions()))
    return OpenStudy(name=chosen, storage=storage, config=config, settings=settings, optuna_study=study)


def check_new_study(name: str | None, storage: str) -> None:
    """Raise StudyError for a storage that cannot be used, a name that is taken or that no file may have."""
    if name is not None:
        check_new_name(name, storage)
    opened = open_storage(storage, create=True, write=True)
    with storage_errors(storage):
        if name is not None and name in study_names(opened, storage):
            raise _taken(name)


def _taken(name: str) -> StudyError:
    how = f"go on with `sizer search resume {name}` or give another --study"
    return StudyError(f"study: {name!r} exists already; {how}")


def open_study(name: str, storage: str, *, write: bool = False) -> OpenStudy:
    """Open an existing study to read it, or to `write` to it; StudyError lists the studies there are."""
    opened = open_storage(storage, create=False, write=write)
    with storage_errors(storage):
        names = sorted(study_names(opened, storage))
        if name not in names:
            listed = ", ".join(names) or "none"
            shown = without_password(storage)
            raise StudyError(f"study: {name!r} does not exist in {shown}; there are: {listed}")
        study = optuna.load_study(study_name=name, storage=opened)
        with damage_errors(name):
            if _CONFIG not in study.user_attrs:
                raise StudyError(
                    f"study: {name!r} was not made by sizer; accepted: a study of `sizer search run`"
                )
            config = stored_config(json.loads(study.user_attrs[_CONFIG]), where=f"study {name}")
            settings = json.loads(study.user_attrs[_SETTINGS])
    return OpenStudy(
        name=name, storage=storage, config=config, settings=settings, optuna_study=study, waits=write
    )


def load_result(name: str, storage: str) -> SearchResult:
    """Read a study back as plain data."""
    return open_study(name, storage).result()


def read_study(name: str, storage: str | None = None) -> SearchResult:
    """Read a study back from a storage URL; without one, from where searches are kept by default."""
    return load_result(name, storage or default_storage())


def corpus_digest(study: OpenStudy) -> str:
    """Return the digest of the text the study was started on."""
    return str(json.loads(study.optuna_study.user_attrs[_CORPUS])["digest"])


def torch_version(study: OpenStudy) -> str:
    """Return the version of torch that the study was started with; empty if it is not known."""
    return str(json.loads(study.optuna_study.user_attrs.get(_VERSIONS, "{}")).get("torch", ""))


def _result(study: optuna.Study, config: SearchConfig) -> SearchResult:
    corpus, runs = json.loads(study.user_attrs[_CORPUS]), later_runs(study.user_attrs)
    return SearchResult(
        study=study.study_name,
        device=config.budget.device,
        runtime=config.budget.runtime,
        budget={name: getattr(config.budget, name) for name in _LIMITS},
        corpus=str(corpus["name"]),
        corpus_digest=str(corpus["digest"]),
        trials_requested=config.training.trials,
        settings=json.loads(study.user_attrs[_SETTINGS]),
        records=tuple(with_runs(record, runs) for record in records_of(study.get_trials(deepcopy=False))),
        config=config,
        versions=json.loads(study.user_attrs.get(_VERSIONS, "{}")),
    )
