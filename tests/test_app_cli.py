"""`sizer app`: the storage and the token it hands on, the addresses it listens to."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from explorer.served.guard import TOKEN_VARIABLE
from search.store.folders import STORAGE_VARIABLE
from sizer.readers.model_bytes import MAX_UPLOAD_MB


def test_the_explorer_is_started_on_the_storage_asked_for(
    sizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def become(program: str, command: list[str], env: dict[str, str]) -> None:
        assert program == command[0]
        started.append((command, env))

    monkeypatch.setattr("commands.app.os.execve", become)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert sizer("app", "--port", "8600", "--headless", "--storage", "sqlite:///x.db").code == 0
    ((command, env),) = started
    assert command[1:4] == ["-m", "streamlit", "run"]
    assert Path(command[4]).name == "app.py"
    assert "8600" in command
    assert env[STORAGE_VARIABLE] == "sqlite:///x.db"
    # the token goes by the environment: `ps` shows a command line to every user
    assert len(env[TOKEN_VARIABLE]) == 32
    assert env[TOKEN_VARIABLE] not in command
    monkeypatch.setenv(TOKEN_VARIABLE, "of-my-own")
    assert sizer("app").code == 0
    assert started[1][1][TOKEN_VARIABLE] == "of-my-own"


@pytest.mark.parametrize(
    ("address", "warned"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("192.168.1.7", True)],
)
def test_the_explorer_listens_to_this_machine_unless_told_otherwise(
    sizer: Any, root: Path, monkeypatch: pytest.MonkeyPatch, address: str, warned: bool
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("commands.app.os.execve", lambda program, command, env: started.append(command))
    ran = sizer("app", "--address", address)
    assert (ran.code, "warning: listening on" in ran.err) == (0, warned)
    assert ran.err.count("\n") == int(warned)
    (command,) = started
    options = dict(zip(command[5::2], command[6::2], strict=True))
    assert options["--server.address"] == address
    assert options["--browser.gatherUsageStats"] == "false"
    assert options["--server.maxUploadSize"] == str(MAX_UPLOAD_MB)
    # what `streamlit run app.py` reads in a checkout says the same
    config = tomllib.loads((root / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["server"] == {"address": "127.0.0.1", "maxUploadSize": MAX_UPLOAD_MB}
    assert config["browser"]["gatherUsageStats"] is False
    assert (options["--server.enableXsrfProtection"], options["--server.enableCORS"]) == ("true", "true")


def test_by_default_the_explorer_listens_to_this_machine(sizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("commands.app.os.execve", lambda program, command, env: started.append(command))
    assert sizer("app").code == 0
    assert started[0][5:7] == ["--server.address", "127.0.0.1"]


@pytest.mark.parametrize("address", ["", "example.com", "127.0.0.1; rm", "1.2.3"])
def test_an_address_that_is_none_is_one_line(sizer: Any, address: str) -> None:
    ran = sizer("app", "--address", address)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert ran.err.startswith("error: address: ")
