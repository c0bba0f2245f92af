"""`sizer app`: open the explorer in a browser."""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
from ipaddress import ip_address
from typing import Annotated

import typer

from sizer.errors import InvalidQuantity, SizerError

LOCALHOST = "127.0.0.1"
TOKEN_VARIABLE = "SIZER_APP_TOKEN"  # as explorer.served.guard has it


def app_command(
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option(help="Address to listen on; any other than this machine's own lets others in.")
    ] = LOCALHOST,
    headless: Annotated[bool, typer.Option("--headless", help="Do not open a browser.")] = False,
    storage: Annotated[str | None, typer.Option(help="Optuna storage URL. [sqlite:///runs/sizer.db]")] = None,
) -> None:
    """Open the explorer in a browser: size a model, compare, search. Only this machine can reach it.

    Its address has a token, new at every start unless SIZER_APP_TOKEN holds one; without it nothing answers.

    \b
    Examples:
      sizer app
      sizer app --port 8600 --headless
    """
    spec = importlib.util.find_spec("app")
    if spec is None or spec.origin is None:
        raise SizerError("app: the explorer is not installed; install sizer from its source")
    if importlib.util.find_spec("streamlit") is None:
        # The caller names the extra that brings it.
        raise ModuleNotFoundError("streamlit is not installed", name="streamlit")
    if not is_local(address):
        print(
            f"warning: listening on {address}: everyone who can reach that address can use the explorer, "
            "start searches and read studies, if they know its token; the connection is not encrypted",
            file=sys.stderr,
        )
    command = [sys.executable, "-m", "streamlit", "run", spec.origin, *server_flags(address, port, headless)]
    environment = dict(os.environ)
    if not environment.get(TOKEN_VARIABLE):
        environment[TOKEN_VARIABLE] = secrets.token_urlsafe(24)  # not an option: `ps` shows those to everyone
    if storage is not None:
        environment["SIZER_STORAGE"] = storage  # search.store.folders.STORAGE_VARIABLE
    # this process becomes the server: ending `sizer app` then ends it and frees the port
    os.execve(sys.executable, command, environment)


def server_flags(address: str, port: int, headless: bool) -> list[str]:
    """Return Streamlit's options: address, upload limit, no telemetry."""
    from sizer.readers.model_bytes import MAX_UPLOAD_MB

    return [
        *("--server.address", address, "--server.port", str(port)),
        *("--server.maxUploadSize", str(MAX_UPLOAD_MB), "--server.headless", str(headless).lower()),
        *("--browser.gatherUsageStats", "false", "--client.toolbarMode", "minimal"),
        # a watcher of every file below the folder fills the log, and reruns pages at each edit of any of them
        *("--server.fileWatcherType", "none"),
        # next to an error Streamlit offers to send it to search engines
        *("--client.showErrorLinks", "false"),
        # on by default; said here so that a user's own configuration file does not switch them off
        *("--server.enableXsrfProtection", "true", "--server.enableCORS", "true"),
        # it would print the address without the token
        *("--logger.hideWelcomeMessage", "true"),
    ]


def is_local(address: str) -> bool:
    """Return True if only this machine can reach an address; InvalidQuantity if it is not an address."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        raise InvalidQuantity(
            f"address: {address!r} is not an address of this machine; accepted: {LOCALHOST}, localhost, "
            "or an IP address such as 0.0.0.0 (every network)"
        ) from None
