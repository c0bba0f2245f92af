"""What tests of a store share: a storage in the test's folder, and results kept there as well."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """Address of a storage that is not there yet."""
    return f"sqlite:///{tmp_path}/runs/sizer.db"


@pytest.fixture(autouse=True)
def _state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let results that a storage refuses go to the test's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
