"""A server that is stopped does not wait for ever for a page that is still open."""

from __future__ import annotations

import uvicorn

from explorer.served.opening import SHUTDOWN_S, end_soon_after_a_stop


def test_uvicorn_waits_some_seconds_for_open_pages() -> None:
    server = uvicorn.Server(uvicorn.Config("app:app"))
    assert server.config.timeout_graceful_shutdown is None
    with server.capture_signals():  # as while it serves
        end_soon_after_a_stop()
    assert server.config.timeout_graceful_shutdown == SHUTDOWN_S


def test_another_handler_of_signals_is_left_alone() -> None:
    end_soon_after_a_stop()
