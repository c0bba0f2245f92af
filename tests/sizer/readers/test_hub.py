"""`hf:org/name`: one file asked for through the client, one clear line for everything that can go wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sizer.errors import InvalidFile, SizerError, UnknownName
from sizer.readers import hub, read_model
from tests.sizer.families.test_hf_config import LLAMA


def _client(monkeypatch: pytest.MonkeyPatch, download: Any, *, online: bool = True) -> None:
    quiet = SimpleNamespace(set_verbosity_error=lambda: None)
    utils = SimpleNamespace(disable_progress_bars=lambda: None, logging=quiet)
    constants = SimpleNamespace(ENDPOINT="https://hub.example")
    client = SimpleNamespace(hf_hub_download=download, constants=constants)
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", utils)
    monkeypatch.setattr(hub, "reachable", lambda endpoint: online)


def test_only_config_json_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    asked = []

    def download(**wanted: object) -> str:
        asked.append((wanted["repo_id"], wanted["filename"]))
        return str(tmp_path / "config.json")

    _client(monkeypatch, download)
    found = read_model("hf:TinyLlama/TinyLlama_v1.1")
    assert asked == [("TinyLlama/TinyLlama_v1.1", "config.json")]
    assert (found.name, found.hidden_size) == ("TinyLlama_v1.1", LLAMA["hidden_size"])


def test_what_the_client_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(**wanted: object) -> str:
        raise RuntimeError("401 Client Error.\n\nCannot access gated repo\nfor url")

    _client(monkeypatch, download)
    with pytest.raises(InvalidFile, match="cannot get config.json of 'hf:a/b': 401 Client Error.; accepted"):
        read_model("hf:a/b")


def test_without_a_network_only_the_cache_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(**wanted: object) -> str:
        assert wanted["local_files_only"] is True
        raise FileNotFoundError("outgoing traffic has been disabled")

    _client(monkeypatch, download, online=False)
    with pytest.raises(
        InvalidFile, match="https://hub.example cannot be reached, and it is not in the cache"
    ):
        read_model("hf:a/b")


def test_a_name_that_is_not_known_is_not_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    assert not hub.reachable("https://sizer.invalid")
    assert hub.reachable("http://127.0.0.1:8000")


def test_without_the_client_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InvalidFile, match="needs the package huggingface_hub"):
        read_model("hf:a/b")


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "../etc", "a/../b", "a b", "https://huggingface.co/a/b", "a/b\n"]
)
def test_names_that_are_none_never_reach_the_client(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _client(monkeypatch, lambda **wanted: pytest.fail("asked"))
    with pytest.raises(UnknownName, match="names no model on the Hub; accepted: hf:org/name"):
        read_model(f"hf:{name}")


@pytest.mark.parametrize("name", ["a" * 5000, "a" * 5000 + ".gguf", "a\0b.json", "a\0b"])
def test_paths_that_no_file_can_have(name: str) -> None:
    with pytest.raises(SizerError):
        read_model(name)
