"""Streamlit's static files from memory: the same bytes, compressed for those who take it, asked for once."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from explorer.served.static_files import StaticFiles

SCRIPT = b"export const answer = 42;\n" * 500
FONT = bytes(range(256)) + gzip.compress(SCRIPT)
FOR_GOOD = "public, immutable, max-age=31536000"


class Streamlit:
    """An ASGI application that sends one file, and counts how often."""

    def __init__(self, body: bytes, *, cache: str = FOR_GOOD, status: int = 200, **headers: str) -> None:
        self.body, self.status, self.asked = body, status, 0
        named = {"cache-control": cache, "content-length": str(len(body)), "etag": '"of-the-file"', **headers}
        self.headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        half = len(self.body) // 2
        await send({"type": "http.response.body", "body": self.body[:half], "more_body": True})
        await send({"type": "http.response.body", "body": self.body[half:]})


def asked(
    app: Any, path: str = "/static/js/index.js", *, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = {"accept_encoding": "gzip, deflate, br, zstd"} | headers
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(app(scope, None, send))
    start, *bodies = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    body = b"".join(one.get("body", b"") for one in bodies)
    assert found["content-length"] == str(len(body))
    return start["status"], found, body


def test_a_script_is_compressed_and_asked_for_once() -> None:
    streamlit = Streamlit(SCRIPT)
    app = StaticFiles(streamlit)
    for _ in range(3):
        status, headers, body = asked(app)
        assert (status, headers["content-encoding"]) == (200, "gzip")
        assert gzip.decompress(body) == SCRIPT
        assert len(body) < len(SCRIPT) / 10
        assert headers["cache-control"] == FOR_GOOD
        assert headers["vary"] == "accept-encoding"
        assert "etag" not in headers
    assert streamlit.asked == 1


@pytest.mark.parametrize("offered", ["", "identity", "br", "gzip;q=0, br", "gzip; q=0.0"])
def test_a_browser_that_takes_no_gzip_gets_the_file_as_it_is(offered: str) -> None:
    app = StaticFiles(Streamlit(SCRIPT))
    assert asked(app)[1]["content-encoding"] == "gzip"
    _, headers, body = asked(app, accept_encoding=offered)
    assert body == SCRIPT
    assert "content-encoding" not in headers


def test_a_font_is_sent_as_it_is() -> None:
    streamlit = Streamlit(FONT)
    app = StaticFiles(streamlit)
    for _ in range(2):
        _, headers, body = asked(app, "/static/media/font.woff2")
        assert body == FONT
        assert "content-encoding" not in headers
    assert streamlit.asked == 1


@pytest.mark.parametrize(
    ("streamlit", "path", "headers"),
    [
        (Streamlit(SCRIPT, cache="no-cache"), "/static/js/index.js", {}),
        (Streamlit(SCRIPT, status=404), "/static/js/index.js", {}),
        (Streamlit(SCRIPT, content_encoding="br"), "/static/js/index.js", {}),
        (Streamlit(SCRIPT), "/size", {}),
        (Streamlit(SCRIPT), "/static/js/index.js", {"range": "bytes=0-9"}),
        (Streamlit(SCRIPT), "/static/js/index.js", {"if_none_match": '"of-the-file"'}),
    ],
)
def test_what_may_change_or_is_of_a_part_is_left_to_streamlit(
    streamlit: Streamlit, path: str, headers: dict[str, str]
) -> None:
    app = StaticFiles(streamlit)
    for times in (1, 2):
        status, found, body = asked(app, path, **headers)
        assert (status, body) == (streamlit.status, SCRIPT)
        assert found["etag"] == '"of-the-file"'
        assert streamlit.asked == times
