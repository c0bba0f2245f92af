"""Which process runs a study of a database server: one row a study, claimed and renewed by its process.

A file's lock lies next to the SQLite file, so every process that can run the study sees it. Processes that
share a server may have nothing else in common, and a lock of the server itself ends when the server restarts.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from search.store.patience import patiently
from search.store.process import LEASE_S, is_alive, is_here, this_process
from search.store.storage import engine_options, storage_errors
from sizer.errors import StudyError

RENEW_EVERY_S = LEASE_S / 4
_TRIES = 5

_RUNNERS = Table(
    "sizer_runners",
    MetaData(),
    Column("study", String(512), primary_key=True),
    Column("token", String(32), nullable=False),  # of one claim: whoever replaces it has the study
    Column("owner", String(512), nullable=False),
    Column("seen_at_s", Float(53), nullable=False),  # by the server's clock, since the epoch
)
_log = logging.getLogger("sizer")


class _Runner(NamedTuple):
    """The process that claimed a study last."""

    owner: Mapping[str, Any]
    token: str
    seen_at_s: float  # its last renewal, by the server's clock
    idle_s: float  # since then

    @property
    def may_live(self) -> bool:
        """Whether it may still run: a process of this machine is looked up, another has its lease."""
        return is_alive(dict(self.owner)) if is_here(self.owner) else self.idle_s < LEASE_S


@contextmanager
def server_lease(storage: str, study: str) -> Iterator[Callable[[], bool]]:
    """Hold a study of a database server; yields whether another process has taken it over since.

    StudyError names the process that runs the study at present.
    """
    with storage_errors(storage):
        engine = create_engine(storage, **engine_options(storage))
    try:
        lease = _Lease(engine, storage, study)
        lease.claim()
        renewals = threading.Thread(target=lease.renew_until_ended, name=f"lease of {study}", daemon=True)
        renewals.start()
        try:
            yield lease.lost.is_set
        finally:
            lease.ended.set()
            renewals.join()
            lease.release()
    finally:
        engine.dispose()


class _Lease:
    """One process's claim on a study."""

    def __init__(self, engine: Engine, storage: str, study: str) -> None:
        self._engine, self._storage, self._study = engine, storage, study
        self._token = uuid.uuid4().hex
        self.lost, self.ended = threading.Event(), threading.Event()

    def claim(self) -> None:
        """Become the study's runner, or raise StudyError with the one there is."""
        patiently(self._claim, self._storage)

    def _claim(self) -> None:
        with storage_errors(self._storage):
            with suppress(IntegrityError, ProgrammingError):  # another process makes it at this moment
                _RUNNERS.create(self._engine, checkfirst=True)
            for _ in range(_TRIES):  # another process may claim it between reading and writing
                with suppress(IntegrityError):
                    if self._take():
                        return
            raise StudyError(f"study: {self._study!r} is being started by another process")

    def _take(self) -> bool:
        with self._engine.begin() as connection:
            before = self._runner(connection)
            if before is None:
                connection.execute(insert(_RUNNERS).values(study=self._study, **self._values(connection)))
                return True
            if before.token != self._token and before.may_live:
                raise self._is_run_by(before)
            return self._replace(connection, before)

    def renew_until_ended(self) -> None:
        """Renew the claim now and then; a server that does not answer is asked again the next time."""
        while not self.ended.wait(RENEW_EVERY_S):
            try:
                with self._engine.begin() as connection:
                    mine = (_RUNNERS.c.study == self._study) & (_RUNNERS.c.token == self._token)
                    seen = update(_RUNNERS).where(mine).values(seen_at_s=_now_s(connection))
                    if connection.execute(seen).rowcount != 1:
                        self.lost.set()
                        return
            except SQLAlchemyError as error:
                _log.debug("lease of %s: %s", self._study, type(error).__name__)

    def release(self) -> None:
        """Give the study up; where the server does not answer the lease runs out by itself."""
        try:
            with self._engine.begin() as connection:
                mine = (_RUNNERS.c.study == self._study) & (_RUNNERS.c.token == self._token)
                connection.execute(delete(_RUNNERS).where(mine))
        except SQLAlchemyError as error:
            _log.debug("lease of %s: %s", self._study, type(error).__name__)

    def _runner(self, connection: Connection) -> _Runner | None:
        row = connection.execute(select(_RUNNERS).where(_RUNNERS.c.study == self._study)).one_or_none()
        if row is None:
            return None
        idle_s = _now_s(connection) - row.seen_at_s
        return _Runner(json.loads(row.owner), row.token, row.seen_at_s, idle_s)

    def _replace(self, connection: Connection, before: _Runner) -> bool:
        """Take the place of a runner that has not been seen since it was read; return whether it was so."""
        same = (
            (_RUNNERS.c.study == self._study)
            & (_RUNNERS.c.token == before.token)
            & (_RUNNERS.c.seen_at_s == before.seen_at_s)
        )
        return (
            connection.execute(update(_RUNNERS).where(same).values(**self._values(connection))).rowcount == 1
        )

    def _values(self, connection: Connection) -> dict[str, Any]:
        return {"token": self._token, "owner": json.dumps(this_process()), "seen_at_s": _now_s(connection)}

    def _is_run_by(self, runner: _Runner) -> StudyError:
        owner = runner.owner
        return StudyError(
            f"study: {self._study!r} is being run by process {owner['pid']} on {owner['host']}, seen "
            f"{runner.idle_s:.0f} s ago; wait until it ends or stop it (Ctrl-C), then resume"
        )


def _now_s(connection: Connection) -> float:
    """Return the server's clock, so that those of its users do not matter."""
    return float(connection.execute(select(func.current_timestamp())).scalar_one().timestamp())
