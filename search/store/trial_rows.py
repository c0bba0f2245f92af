"""Trials as a storage holds them, a page at a time: Optuna's cache keeps every one that was ever read."""

from __future__ import annotations

import json
from collections.abc import Iterator

from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text
from sqlalchemy.orm import Session

_SCHEMA = 12  # of Optuna's tables, that rows are written for here; another one is left to Optuna
_PAGE = 500  # trials read at a time; as objects a hundred thousand take over two gigabytes


def uncached(storage: BaseStorage) -> BaseStorage:
    """Return a storage without the cache that Optuna puts before databases."""
    backend: BaseStorage = getattr(storage, "_backend", storage)
    return backend


def trials_in(storage: BaseStorage, study: int, *states: TrialState) -> list[FrozenTrial]:
    """Return the trials of a study in some states, by growing number."""
    return uncached(storage).get_all_trials(study, deepcopy=False, states=states)


def trial_ids(storage: BaseStorage, study: int) -> list[int]:
    """Return the storage's own numbers of a study's trials, in the order of the trials."""
    backend = uncached(storage)
    if not isinstance(backend, RDBStorage):
        return [t._trial_id for t in backend.get_all_trials(study, deepcopy=False)]
    with backend.engine.connect() as connection:
        asked = text("SELECT trial_id FROM trials WHERE study_id = :study ORDER BY trial_id")
        return list(connection.execute(asked, {"study": study}).scalars())


def count_started(storage: BaseStorage, study: int) -> int:
    """Return how many trials of a study have been started, whatever became of them."""
    backend = uncached(storage)
    if not isinstance(backend, RDBStorage):
        trials = backend.get_all_trials(study, deepcopy=False)
        return sum(trial.state is not TrialState.WAITING for trial in trials)
    with backend.engine.connect() as connection:
        asked = text("SELECT COUNT(*) FROM trials WHERE study_id = :study AND state <> 'WAITING'")
        return int(connection.execute(asked, {"study": study}).scalar_one())


def trial_id_of(storage: BaseStorage, study: int, number: int) -> int:
    """Return the storage's own number of a trial; KeyError if the study has none of this number.

    Looked for from the newest trial backwards: Optuna's own search reads every trial of the study.
    """
    backend = uncached(storage)
    if not isinstance(backend, RDBStorage):
        return int(backend.get_trial_id_from_study_id_trial_number(study, number))
    asked = text(
        "SELECT trial_id, number FROM trials WHERE study_id = :study AND number <= :number "
        "ORDER BY trial_id DESC LIMIT 1"
    )
    with backend.engine.connect() as connection:
        found = connection.execute(asked, {"study": study, "number": number}).first()
    if found is None or found[1] != number:
        raise KeyError(number)
    return int(found[0])


def pages(ids: list[int]) -> Iterator[list[int]]:
    """Divide trials into pages that are read together."""
    return (ids[first : first + _PAGE] for first in range(0, len(ids), _PAGE))


def read_page(storage: BaseStorage, study: int, page: list[int]) -> list[FrozenTrial]:
    """Return the trials of a page."""
    backend = uncached(storage)
    if not isinstance(backend, RDBStorage):
        return [backend.get_trial(trial) for trial in page]
    # trials above the second number are read as well: it is one that no database gives to a trial
    return backend._get_trials(study, None, set(page), 2**31 - 1)


def insert_trial(storage: BaseStorage, study: int, number: int, trial: FrozenTrial) -> None:
    """Store a new trial without values as trial `number`, the next of the study.

    The same rows as Optuna's `create_new_trial` writes, which asks the database for each parameter and counts
    the study's trials, which takes longer with every trial.
    """
    backend = uncached(storage)
    if not isinstance(backend, RDBStorage) or models.SCHEMA_VERSION != _SCHEMA:
        backend.create_new_trial(study, template_trial=trial)
        return
    with Session(backend.engine) as session, session.begin():
        row = models.TrialModel(
            study_id=study,
            number=number,
            state=trial.state,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
        )
        session.add(row)
        session.flush()  # gives it its number in the storage
        for name, distribution in trial.distributions.items():
            session.add(
                models.TrialParamModel(
                    trial_id=row.trial_id,
                    param_name=name,
                    param_value=distribution.to_internal_repr(trial.params[name]),
                    distribution_json=distribution_to_json(distribution),
                )
            )
        attributes = (
            (models.TrialUserAttributeModel, trial.user_attrs),
            (models.TrialSystemAttributeModel, trial.system_attrs),
        )
        for model, values in attributes:
            for key, value in values.items():
                session.add(model(trial_id=row.trial_id, key=key, value_json=json.dumps(value)))
