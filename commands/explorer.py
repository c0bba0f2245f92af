"""`sizer app`: opens the explorer in a browser."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated

import typer

from sizer.errors import SizerError


def app_command(
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 8501,
    headless: Annotated[bool, typer.Option("--headless", help="Do not open a browser.")] = False,
    storage: Annotated[str | None, typer.Option(help="Optuna storage URL. [sqlite:///runs/sizer.db]")] = None,
) -> None:
    """Open the explorer: sliders for a model, a study's frontier.

    \b
    Examples:
      sizer app
      sizer app --port 8600 --headless
    """
    spec = importlib.util.find_spec("app")
    if spec is None or spec.origin is None or importlib.util.find_spec("streamlit") is None:
        raise SizerError("app: the explorer is not installed; install sizer with its own dependencies")
    command = [sys.executable, "-m", "streamlit", "run", spec.origin, "--server.port", str(port)]
    command += ["--browser.gatherUsageStats", "false", "--server.headless", str(headless).lower()]
    command += ["--client.toolbarMode", "minimal"]
    environment = dict(os.environ)
    if storage is not None:
        environment["SIZER_STORAGE"] = storage  # search.folders.STORAGE_VARIABLE
    # this process becomes the server: ending `sizer app` then ends it, and leaves no port taken
    os.execve(sys.executable, command, environment)
