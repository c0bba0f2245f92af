"""Requests that the explorer's guard passes on, refuses, or sends on to an address without the token."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from explorer.served.guard import Guard, refusal
from explorer.served.opening import explorer_url

TOKEN = "s3cret-token"
HOST = "127.0.0.1:8501"


def ask(
    path: str = "/",
    query: str = "",
    *,
    token: str | None = TOKEN,
    kind: str = "http",
    **headers: str,
) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer: 200 from the app behind the guard, 403 also for a closed WebSocket."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if kind == "websocket":
            await send({"type": "websocket.accept", "headers": []})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    given = {"host": HOST} | headers
    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "server": ("127.0.0.1", 8501),
    }
    asyncio.run(Guard(app, token=token)(scope, receive, send))
    first = sent[0]
    status = first.get("status", {"websocket.accept": 200, "websocket.close": 403}.get(first["type"]))
    return status, {name.decode(): value.decode() for name, value in first.get("headers", ())}


COOKIE = f"other=1; sizer_token_8501={TOKEN}"


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"cookie": COOKIE}, 200),
        ({"cookie": COOKIE, "origin": f"http://{HOST}"}, 200),
        ({"cookie": f"sizer_token_8501={TOKEN}x"}, 403),
        ({"cookie": f"sizer_token_8501=\xe9{TOKEN}"}, 403),
        ({"cookie": f"sizer_token_8502={TOKEN}"}, 403),  # of an explorer at another port
        *(
            ({"cookie": COOKIE, "origin": origin}, 403)
            for origin in (
                "http://127.0.0.1:3000",
                "http://localhost:8501",
                "http://localhost:3000",
                "https://evil.example",
                "null",
                "",
                "http://[",
            )
        ),
    ],
)
def test_who_is_answered(kind: str, headers: dict[str, str], status: int) -> None:
    assert ask("/_stcore/stream", kind=kind, **headers)[0] == status


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "status"),
    [(HOST, 200), ("localhost:8501", 200), ("[::1]:8501", 200), ("evil.example:8501", 403), ("", 403)],
)
def test_without_a_token_a_name_that_points_here_is_refused(kind: str, host: str, status: int) -> None:
    given = {"host": host, "origin": f"http://{host}"} if host else {"host": host}
    assert ask(kind=kind, token=None, **given)[0] == status


def test_with_a_token_a_host_name_serves() -> None:
    assert refusal({"host": "mybox:8501", "origin": "http://mybox:8501"}, has_token=True) is None


def test_the_token_goes_into_a_cookie_and_out_of_the_address() -> None:
    status, headers = ask("/size", f"max_size=60MB&token={TOKEN}&model=a%26b")
    assert (status, headers["location"]) == (303, "/size?max_size=60MB&model=a%26b")
    assert headers["set-cookie"] == f"sizer_token_8501={TOKEN}; HttpOnly; SameSite=Lax; Path=/"
    assert ask("/", f"token={TOKEN}")[1]["location"] == "/"
    # an address of another host behind two slashes
    assert ask("//evil.example/x", f"token={TOKEN}")[1]["location"] == "/evil.example/x"


@pytest.mark.parametrize("query", ["token=wrong", "token=", "token=%C3%A9", f"tokens={TOKEN}"])
def test_a_wrong_token_is_refused(query: str) -> None:
    assert ask("/size", query)[0] == 403


def test_a_token_in_the_address_opens_no_websocket() -> None:
    assert ask("/_stcore/stream", f"token={TOKEN}", kind="websocket")[0] == 403


def test_no_answer_may_be_framed() -> None:
    answers = (ask(), ask(cookie=COOKIE), ask("/", f"token={TOKEN}"), ask(token=None), ask("/_stcore/health"))
    assert [status for status, _ in answers] == [403, 200, 303, 200, 200]
    for _, headers in answers:
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"] == "frame-ancestors 'none'"


@pytest.mark.parametrize(
    ("address", "host"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("localhost", "localhost")],
)
def test_the_address_to_open(address: str, host: str) -> None:
    assert explorer_url(address, 8600, "a-b") == f"http://{host}:8600/?token=a-b"
