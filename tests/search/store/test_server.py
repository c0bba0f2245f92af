"""Studies in a PostgreSQL server: one runner each, and restarts that are waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import optuna
import pytest

from search.store import server_lease as leases
from search.store import storage as opening
from search.store.process import this_process
from search.store.server_lease import server_lease
from search.store.study import load_result
from sizer.errors import StudyError
from tests.postgres import Server, programs
from tests.search.records import record
from tests.search.store.studies import asked, begin_next, new, stored

pytestmark = pytest.mark.skipif(programs() is None, reason="needs PostgreSQL and psycopg")


@pytest.fixture(scope="module")
def _running() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def server(_running: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, and the connections that a test leaves open closed after it."""
    made: list[Any] = []
    really = optuna.storages.RDBStorage

    def recorded(*arguments: Any, **options: Any) -> Any:
        made.append(really(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(opening, "RDBStorage", recorded)
    yield _running
    for opened in made:
        opened.remove_session()
        opened.engine.dispose()


def _somebody(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let this process pass for another."""
    monkeypatch.setattr(leases, "this_process", lambda: {**this_process(), **changes})


def test_a_study_has_one_runner(server: Server) -> None:
    with server_lease(server.storage, "one") as is_lost:
        with (
            pytest.raises(StudyError, match=r"study: 'one' is being run by process \d+ on .*, seen \d+ s"),
            server_lease(server.storage, "one"),
        ):
            pass
        with server_lease(server.storage, "another"):
            pass
        assert not is_lost()
    with server_lease(server.storage, "one"):
        pass


def test_a_dead_runner_is_followed_at_once_here_and_after_its_lease_elsewhere(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases._Lease, "release", lambda self: None)  # as a kill does
    with monkeypatch.context() as dead:
        _somebody(dead, pid=4194305)
        with server_lease(server.storage, "dead"):
            pass
    with server_lease(server.storage, "dead"):
        pass
    with monkeypatch.context() as elsewhere:
        _somebody(elsewhere, host="node1")
        with server_lease(server.storage, "elsewhere"):
            pass
    with (
        pytest.raises(StudyError, match="is being run by process .* on node1"),
        server_lease(server.storage, "elsewhere"),
    ):
        pass
    monkeypatch.setattr(leases, "LEASE_S", 0.0)
    with server_lease(server.storage, "elsewhere"):
        pass


def test_a_runner_hears_that_another_has_taken_over(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.05)
    _somebody(monkeypatch, host="node1")
    with server_lease(server.storage, "taken") as is_lost:
        time.sleep(0.3)
        assert not is_lost()
        monkeypatch.setattr(leases, "LEASE_S", -1.0)  # the server was away for longer than a lease
        with server_lease(server.storage, "taken") as other_is_lost:
            end = time.monotonic() + 20
            while not is_lost() and time.monotonic() < end:
                time.sleep(0.05)
            assert is_lost()
            assert not other_is_lost()


def test_a_restart_between_two_accesses_is_not_seen(server: Server) -> None:
    study = new(server.storage, "restarted")
    begin_next(study)
    server.stop()
    server.start()
    study.tell(record(0))
    server.stop()
    back = threading.Timer(2.0, server.start)
    back.start()
    asked(study)
    back.join()
    assert stored(study) == (record(0),)
    assert [trial.number for trial in study.orphaned_trials()] == []
    assert study.num_asked == 2
    assert [r.number for r in load_result("restarted", server.storage).records] == [0]
