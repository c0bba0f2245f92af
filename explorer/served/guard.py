"""Who may use the explorer: no frames, no other origins, and only browsers that know the token.

Streamlit accepts a WebSocket of any page of this machine, whatever its port, and lets any page frame it. The
explorer starts programs, so a page of another program must not be able to press its buttons.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

# Environment variable with the token; `sizer app` sets it.
TOKEN_VARIABLE = "SIZER_APP_TOKEN"
# Parameter of the address that `sizer app` prints.
TOKEN_PARAMETER = "token"
# Answers without a token: they hold nothing of a user's, and scripts ask them whether the server is up.
_OPEN_PATHS = ("/_stcore/health",)

_NO_FRAMES = (
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
)
_NEEDS_TOKEN = (
    "This is the sizer explorer. Open it by the address that `sizer app` printed, "
    "which ends in ?token=...; after that, links work in this browser until the explorer is stopped."
)
_FOREIGN = "The sizer explorer does not answer pages of other origins."
_UNKNOWN_HOST = "The sizer explorer without a token answers under an IP address or localhost only."


class Guard:
    """ASGI middleware around the explorer: refuses frames, other origins and, with a token, strangers.

    The token comes with the first address as a parameter and goes into a cookie; the browser is sent on to
    the same address without it, so that links to copy do not have it.
    """

    def __init__(self, app: Any, *, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or pass it on to Streamlit."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        port = _port(scope)
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        reason = refusal(headers, has_token=self._token is not None)
        if reason is None and self._token is not None and scope["path"] not in _OPEN_PATHS:
            if scope["type"] == "http" and same(dict(query).get(TOKEN_PARAMETER), self._token):
                await _send_on(send, scope, query, cookie=f"{cookie_name(port)}={self._token}")
                return
            if not same(cookies(headers).get(cookie_name(port)), self._token):
                reason = _NEEDS_TOKEN
        if reason is None:
            await self._app(scope, receive, _without_frames(send) if scope["type"] == "http" else send)
        elif scope["type"] == "websocket":
            await receive()  # the handshake; closed before it is accepted, it is answered with 403
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _answer(send, 403, reason)


def refusal(headers: Mapping[str, str], *, has_token: bool) -> str | None:
    """Return why a request's origin or host is refused, or None.

    Without a token a host name is refused too: a page can give its own name this machine's address, and its
    origin is then equal to the host.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if origin is not None and _split(origin).netloc.lower() != host.lower():
        return _FOREIGN
    if not has_token and not _is_address(_split(f"//{host}").hostname or ""):
        return _UNKNOWN_HOST
    return None


def cookie_name(port: int) -> str:
    """Return the name of the token's cookie: browsers send cookies of a host to all its ports."""
    return f"sizer_token_{port}"


def cookies(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the values of a request's cookies by name; none if they cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def same(given: str | None, token: str) -> bool:
    """Return True if a token is the right one, in a time that does not depend on how much of it is right."""
    return given is not None and secrets.compare_digest(given.encode(), token.encode())


def _headers(scope: Any) -> dict[str, str]:
    """Return a request's headers; of one that is there twice, the values with a comma between them."""
    found: dict[str, str] = {}
    for raw_name, raw in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw.decode("latin-1")
        between = "; " if name == "cookie" else ", "
        found[name] = f"{found[name]}{between}{value}" if name in found else value
    return found


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # such as an open bracket
        return SplitResult("", "", "", "", "")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _port(scope: Any) -> int:
    server = scope.get("server")
    return int(server[1]) if server and server[1] else 0


def _without_frames(send: Any) -> Any:
    """Return a `send` that adds the headers against frames to an answer."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_NO_FRAMES]}
        await send(message)

    return sending


async def _send_on(send: Any, scope: Any, query: list[tuple[str, str]], *, cookie: str) -> None:
    """Send the browser on to the same address without the token, which it keeps as a cookie."""
    rest = urlencode([(name, value) for name, value in query if name != TOKEN_PARAMETER])
    # one slash: a browser would take the words after two for a host
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").lstrip("/\\")
    location = f"/{path}" + (f"?{rest}" if rest else "")
    kept = f"{cookie}; HttpOnly; SameSite=Lax; Path=/"
    await _answer(send, 303, "", (b"location", location.encode()), (b"set-cookie", kept.encode()))


async def _answer(send: Any, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    body = f"{text}\n".encode()
    plain = (
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
    )
    await send({"type": "http.response.start", "status": status, "headers": [*plain, *_NO_FRAMES, *headers]})
    await send({"type": "http.response.body", "body": body})
