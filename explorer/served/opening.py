"""The address that `sizer app` prints and opens once its server answers."""

from __future__ import annotations

import os
import signal
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from explorer.served.guard import TOKEN_PARAMETER, TOKEN_VARIABLE

# Addresses that mean every network: a browser of this machine goes to its own.
_EVERY_NETWORK = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
# How long a server that was stopped waits for pages that are still open.
SHUTDOWN_S = 3


def explorer_url(address: str, port: int, token: str) -> str:
    """Return the address to open in a browser."""
    host = _EVERY_NETWORK.get(address, f"[{address}]" if ":" in address else address)
    return f"http://{host}:{port}/?{urlencode({TOKEN_PARAMETER: token})}"


@asynccontextmanager
async def opened(_app: Any) -> AsyncIterator[None]:
    """Print the address with its token and open it; Streamlit does neither for a server with a guard.

    Without a token the server was started by `streamlit run app.py`, which prints its address itself.
    """
    from streamlit import config

    end_soon_after_a_stop()
    token = os.environ.get(TOKEN_VARIABLE)
    if token:
        address, port = config.get_option("server.address"), config.get_option("server.port")
        url = explorer_url(address or "127.0.0.1", port, token)
        print(f"The explorer is at {url}", flush=True)
        if not config.get_option("server.headless"):
            # a browser of the terminal would hold up the server that it waits for
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    yield


def end_soon_after_a_stop() -> None:
    """Limit how long uvicorn waits for open pages: without a limit one can hold up the server for ever.

    Streamlit has no option for it; by now uvicorn's server answers the signals, so it is found by them.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    settings = getattr(server, "config", None)
    if settings is not None and hasattr(settings, "timeout_graceful_shutdown"):
        settings.timeout_graceful_shutdown = SHUTDOWN_S
