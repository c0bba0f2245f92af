"""`hf:org/name`: the config.json of a model on the Hugging Face Hub; never its weights, never its code."""

from __future__ import annotations

import re
import socket
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from sizer.errors import InvalidFile, UnknownName
from sizer.families.hf_config import ModelReading
from sizer.readers.config_json import read_described_config

PREFIX = "hf:"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_TIMEOUT_S = 10


def read_hub_config(text: str) -> ModelReading:
    """Read the model of `hf:org/name` through huggingface_hub, if it is installed and online."""
    name = text.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise UnknownName(f"model: {text!r} names no model on the Hub; accepted: hf:org/name")
    try:
        hub: Any = import_module("huggingface_hub")
        utils: Any = import_module("huggingface_hub.utils")
    except ImportError:
        raise InvalidFile(
            f"model: {text!r} needs the package huggingface_hub; "
            "accepted: install it, or download config.json and give its path"
        ) from None
    utils.disable_progress_bars()
    utils.logging.set_verbosity_error()
    online = reachable(str(hub.constants.ENDPOINT))
    try:
        # offline the client would retry for half a minute; what it has in its cache it still gives
        file = hub.hf_hub_download(
            repo_id=name, filename="config.json", etag_timeout=_TIMEOUT_S, local_files_only=not online
        )
    except Exception as error:  # the client raises its own kinds and those of its HTTP library, which differ
        why = str(error).strip().split("\n")[0][:200] or type(error).__name__
        reason = why if online else f"{hub.constants.ENDPOINT} cannot be reached, and it is not in the cache"
        raise InvalidFile(
            f"model: cannot get config.json of {text!r}: {reason}; "
            "accepted: a model that this machine may read, or the path of a config.json"
        ) from None
    return read_described_config(Path(file), name=name.rsplit("/", 1)[-1])


def reachable(endpoint: str) -> bool:
    """Return whether the Hub's name resolves here, or a proxy is set that can resolve it."""
    parts = urlsplit(endpoint)
    if {"http", "https", "all"} & getproxies().keys():
        return True
    try:
        socket.getaddrinfo(parts.hostname, parts.port or parts.scheme)
    except OSError:
        return False
    return True
