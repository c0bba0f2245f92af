"""How to run a study again: its configuration as TOML, the commands, and the versions behind its numbers."""

from __future__ import annotations

import json
import shlex
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from search.config.config import TABLES, SearchConfig
from search.store.results import SearchResult
from search.store.versions import versions

if TYPE_CHECKING:
    from collections.abc import Mapping

TOML_NAME = "search.toml"
# Fields that may name a file of the machine a study was run on.
_PATHS = ("corpus", "teacher", "device")


def reproduce_commands(result: SearchResult) -> str:
    """Return commands that run the study again from the TOML file next to the report."""
    name = shlex.quote(result.study)
    return f"sizer search run --config {TOML_NAME} --study {name}\nsizer search report {name}\n"


def search_toml(config: SearchConfig, digest: str) -> str:
    """Return every field of a search in its table; files elsewhere on the machine without their folders."""
    values = config.to_dict()
    lines = []
    for table, names in TABLES.items():
        lines.append(f"[{table}]")
        for name in names:
            value = values[name]
            if value is None:
                continue
            note = ""
            if name in _PATHS and (short := without_folders(str(value))) != value:
                value, note = short, "  # put its path here"
            if name == "corpus":
                note += f"  # digest {digest[:12]}"
            lines.append(f"{name} = {_toml(value)}{note}")
        lines.append("")
    return "\n".join(lines)


def without_folders(path: str) -> str:
    """Return the last part of an absolute path; any other text unchanged.

    >>> without_folders("/home/me/texts/a.jsonl.gz:body"), without_folders("texts/a.txt")
    ('a.jsonl.gz:body', 'texts/a.txt')
    """
    if path.startswith(("/", "~")):
        return PurePosixPath(path).name or path
    windows = PureWindowsPath(path)
    return windows.name if windows.drive and windows.root else path


def version_texts(result: SearchResult) -> Mapping[str, str]:
    """Return the versions that started the study, and those of the report if they differ."""
    now = versions()
    started = dict(result.versions)
    if not started:
        return {"report": _listed(now), "study": "not recorded: the study was started by an earlier version"}
    return {"study": _listed(started)} | ({"report": _listed(now)} if started != now else {})


def _listed(found: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {version}" for name, version in found.items())


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, str):
        # a JSON string is a TOML string, but for the one control character that JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
