"""Streamlit's own scripts, styles and fonts, kept in memory as they are sent: compressed once, not each time.

Streamlit sends them as they are, since it would compress a file again for every visitor. They are two thirds
of what a new visitor downloads, and a server answers a hundred requests for them.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import Any, NamedTuple

# A file that browsers may keep for good never changes under its name; others are not kept.
_KEPT_FOR_GOOD = b"immutable"
_FOLDER = "/static/"
# Requests about a copy that the browser has, or for a part of a file, are Streamlit's to answer.
_CONDITIONS = frozenset({b"range", b"if-none-match", b"if-modified-since", b"if-range"})
# Higher levels take twice as long for 1 % less.
_LEVEL = 6
# A file that becomes hardly smaller, such as a font, is sent as it is.
_WORTH = 0.9


class StaticFile(NamedTuple):
    """An answer that is kept: its headers, its body, and the body compressed if that is worth it."""

    headers: tuple[tuple[bytes, bytes], ...]  # without length and encoding
    body: bytes
    compressed: bytes | None


class StaticFiles:
    """ASGI middleware that answers for Streamlit's static files from memory, from the second request on."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._kept: dict[str, StaticFile] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or pass it on to Streamlit."""
        if not _is_for_whole_file(scope):
            await self._app(scope, receive, send)
            return
        kept = self._kept.get(scope["path"])
        if kept is None:
            answer = _Answer()
            await self._app(scope, receive, answer.take)
            if not answer.is_kept_for_good:
                for message in answer.messages:
                    await send(message)
                return
            # in another thread: the largest takes a fifth of a second
            kept = await asyncio.to_thread(_static_file, answer)
            self._kept[scope["path"]] = kept
        await _send(kept, send, takes_gzip=_takes_gzip(scope))


class _Answer:
    """What Streamlit answers, before anything of it is sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def take(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        found = (m for m in self.messages if m["type"] == "http.response.start")
        return [(name.lower(), value) for name, value in next(found, {}).get("headers", ())]

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.messages if m["type"] == "http.response.body")

    @property
    def is_kept_for_good(self) -> bool:
        kinds = {m["type"] for m in self.messages}
        headers = dict(self.headers)
        return (
            kinds == {"http.response.start", "http.response.body"}
            and self.messages[0].get("status") == 200
            and _KEPT_FOR_GOOD in headers.get(b"cache-control", b"")
            and b"content-encoding" not in headers
        )


def _is_for_whole_file(scope: Any) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and _FOLDER in scope["path"]
        and not any(name.lower() in _CONDITIONS for name, _ in scope["headers"])
    )


def _takes_gzip(scope: Any) -> bool:
    offered = b",".join(value for name, value in scope["headers"] if name.lower() == b"accept-encoding")
    for one in offered.lower().split(b","):
        name, _, weight = one.partition(b";")
        if name.strip() == b"gzip":
            return weight.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def _static_file(answer: _Answer) -> StaticFile:
    body = answer.body
    compressed = gzip.compress(body, _LEVEL, mtime=0)
    # an etag is of the bytes as they are sent; a file that never changes is not asked for again
    left_out = (b"content-length", b"accept-ranges", b"vary", b"etag")
    headers = tuple((name, value) for name, value in answer.headers if name not in left_out)
    return StaticFile(headers, body, compressed if len(compressed) < _WORTH * len(body) else None)


async def _send(file: StaticFile, send: Any, *, takes_gzip: bool) -> None:
    headers = list(file.headers)
    body = file.body
    if file.compressed is not None:
        headers.append((b"vary", b"accept-encoding"))
        if takes_gzip:
            headers.append((b"content-encoding", b"gzip"))
            body = file.compressed
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
