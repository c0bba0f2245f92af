"""`sizer app`: opens the explorer in a browser."""

from __future__ import annotations

import importlib.util
import os
import sys
from ipaddress import ip_address
from typing import Annotated

import typer

from sizer.errors import InvalidQuantity, SizerError

LOCALHOST = "127.0.0.1"


def app_command(
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own lets others in.")
    ] = LOCALHOST,
    headless: Annotated[bool, typer.Option("--headless", help="Do not open a browser.")] = False,
    storage: Annotated[str | None, typer.Option(help="Optuna storage URL. [sqlite:///runs/sizer.db]")] = None,
) -> None:
    """Open the explorer: sliders for a model, evidence, a study's frontier. It answers to this machine alone.

    \b
    Examples:
      sizer app
      sizer app --port 8600 --headless
    """
    spec = importlib.util.find_spec("app")
    if spec is None or spec.origin is None or importlib.util.find_spec("streamlit") is None:
        raise SizerError("app: the explorer is not installed; install sizer with its own dependencies")
    if not is_local(address):
        print(
            f"warning: listening on {address}: everyone who reaches this machine there can use the explorer, "
            "start its work and read its studies; there is no password",
            file=sys.stderr,
        )
    command = [sys.executable, "-m", "streamlit", "run", spec.origin, *server_flags(address, port, headless)]
    environment = dict(os.environ)
    if storage is not None:
        environment["SIZER_STORAGE"] = storage  # search.store.folders.STORAGE_VARIABLE
    # this process becomes the server: ending `sizer app` then ends it, and leaves no port taken
    os.execve(sys.executable, command, environment)


def server_flags(address: str, port: int, headless: bool) -> list[str]:
    """Streamlit's options: who may ask, how much they may send, and that nothing is told to anyone."""
    from sizer.readers.model_bytes import MAX_UPLOAD_MB

    return [
        *("--server.address", address, "--server.port", str(port)),
        *("--server.maxUploadSize", str(MAX_UPLOAD_MB), "--server.headless", str(headless).lower()),
        *("--browser.gatherUsageStats", "false", "--client.toolbarMode", "minimal"),
        # beside an error Streamlit offers to send it to search engines
        *("--client.showErrorLinks", "false"),
    ]


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address; InvalidQuantity for what is none."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        raise InvalidQuantity(
            f"address: {address!r} is no address of this machine; accepted: {LOCALHOST}, localhost, or an "
            "IP address such as 0.0.0.0 (every network)"
        ) from None
