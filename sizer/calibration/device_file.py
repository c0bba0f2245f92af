"""A device file, usable as `--device my-board.toml`: a [device] table, a [[profile]] of costs per runtime."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sizer.atomic_write import atomic_write
from sizer.calibration.samples import SpeedFit, median_error
from sizer.devices.device import HOST, DeviceKind, Fact
from sizer.errors import InvalidFile, UnknownName, shown

_FIRST_WORDS = "# Written by sizer calibrate"
_PROFILE = "[[profile]]"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFile:
    """Contents of a device file: the device, how it was measured, and its constants."""

    name: str
    title: str
    kind: DeviceKind
    runtime: str
    backend: str
    source: str
    date: str
    fit: SpeedFit
    soc: str | None = None
    facts: Mapping[str, Fact]
    doubts: tuple[str, ...] = ()  # why the speeds are not to be trusted

    def text(self, kept: Sequence[str] = ()) -> str:
        """Return the file as TOML; `kept` are profiles of other runtimes, as text, placed before this one."""
        device = {
            "name": self.name,
            "title": self.title,
            "kind": self.kind.value,
            **({"soc": self.soc} if self.soc else {}),
            "backend": self.backend,
            **self.facts,
        }
        head = [f"{_FIRST_WORDS}. Costs of unmeasured types are taken as the average (1).", "[device]"]
        return "\n".join([*head, *_lines(device), "", *kept, self._profile()])

    def _profile(self) -> str:
        """Return its profile as TOML."""
        c = self.fit.constants
        profile: dict[str, object] = {
            "runtime": self.runtime,
            "backend": self.backend,
            "source": self.source,
            "date": self.date,
            **({"doubt": "; ".join(self.doubts)} if self.doubts else {}),
            "seconds_fixed": c.seconds_fixed,
            "seconds_per_layer": c.seconds_per_layer,
            "bytes_per_s": c.bytes_per_s,
            **({"step_element_s": c.step_element_s} if c.step_element_s else {}),
            "byte_cost": dict(c.byte_cost),
            "bits_low": c.bits_low,
            "bits_high": c.bits_high,
            "decode_factor": c.decode_factor,
        }
        if c.ops_per_s:
            profile["ops_per_s"] = c.ops_per_s
            profile["op_cost"] = dict(c.op_cost)
            profile["activation_element_s"] = c.activation_element_s
            profile["attention_op_s"] = c.attention_op_s
            profile["prefill_factor"] = c.prefill_factor
        if c.load_factor:
            profile["init_s"] = c.init_s
            profile["init_seconds_per_byte"] = c.init_seconds_per_byte
            profile["load_factor"] = c.load_factor
        return "\n".join([_PROFILE, *self._comments(), *_lines(profile), ""])

    def _comments(self) -> list[str]:
        """Return comments on how well the constants predict a shape that was left out."""
        lines = []
        for what, errors in (("decode", self.fit.decode_errors), ("prefill", self.fit.prefill_errors)):
            error = median_error(errors.values())
            if error is not None:
                lines.append(
                    f"# {what}: median error {error:.1%} of {len(errors)} models with their shape left out."
                )
        return lines


def check_device_name(name: str) -> str:
    """Return the name if it can name a device; raise UnknownName otherwise."""
    if not _NAME.fullmatch(name) or name.lower() == HOST:
        raise UnknownName(
            f"name: {shown(name)} cannot name a device; accepted: up to 64 letters, digits, '.', '_' "
            f"and '-', beginning with a letter or digit, and not {HOST!r}"
        )
    return name


def check_device_kind(text: str) -> DeviceKind:
    """Return the kind of device of that name; UnknownName lists them."""
    for kind in DeviceKind:
        if kind.value == text.strip().lower():
            return kind
    raise UnknownName.of("kind of device", text, [kind.value for kind in DeviceKind])


def check_out(path: Path) -> Path:
    """Return the path if it may be written: nothing is there, or a file that sizer calibrate wrote."""
    try:
        if not path.parent.is_dir():
            raise InvalidFile(
                f"out: {str(path.parent)!r} is no directory; accepted: a file in one that exists"
            )
        if path.exists():
            with path.open("rb") as stream:
                if stream.read(len(_FIRST_WORDS)) != _FIRST_WORDS.encode():
                    raise InvalidFile(
                        f"out: {str(path)!r} exists and is no file of sizer calibrate; accepted: --out with "
                        "another name"
                    )
            _read_earlier(path)
    except OSError as error:
        raise InvalidFile(f"out: cannot use {str(path)!r}: {error.strerror or error}") from None
    return path


class _Earlier(NamedTuple):
    """An earlier file: its device, and its profiles as text by runtime and backend."""

    name: str
    soc: str | None
    profiles: Mapping[tuple[str, str], str]


def _read_earlier(path: Path) -> _Earlier:
    """Read a file that sizer calibrate wrote; InvalidFile if it cannot be read as a device file."""
    try:
        head, *blocks = path.read_text(encoding="utf-8").split(f"{_PROFILE}\n")
        table = tomllib.loads(head)["device"]
        rows = [tomllib.loads(block) for block in blocks]
        return _Earlier(
            table["name"],
            table.get("soc"),
            {
                (row["runtime"], row["backend"]): f"{_PROFILE}\n{block.rstrip()}\n"
                for row, block in zip(rows, blocks, strict=True)
            },
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidFile(
            f"out: {str(path)!r} cannot be read as a device file ({type(error).__name__}), so nothing is put "
            "in its place; accepted: --out with another name"
        ) from None


def write_device_file(path: Path, found: DeviceFile) -> tuple[str, ...]:
    """Write the file atomically; return the other runtimes whose profiles it keeps.

    Profiles are kept from an earlier file of the same device (name and processor). InvalidFile where the path
    cannot be written.
    """
    kept: dict[tuple[str, str], str] = {}
    try:
        if path.exists():
            earlier = _read_earlier(path)
            if (earlier.name, earlier.soc) == (found.name, found.soc):
                kept = {**earlier.profiles}
                kept.pop((found.runtime, found.backend), None)
        with atomic_write(path) as file:
            file.write(found.text(tuple(kept.values())).encode())
    except OSError as error:
        raise InvalidFile(f"out: cannot write {str(path)!r}: {error.strerror or error}") from None
    return tuple(f"{runtime} on {backend}" for runtime, backend in kept)


def _lines(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items()]


def _toml(value: object) -> str:
    if isinstance(value, Fact):
        return _toml({"value": value.value, "source": value.source, "date": value.date})
    if isinstance(value, Mapping):
        items = (
            f"{key if _BARE_KEY.fullmatch(key) else _toml(key)} = {_toml(item)}"
            for key, item in value.items()
        )
        return f"{{ {', '.join(items)} }}" if value else "{}"
    if isinstance(value, float):
        # six digits: more than timings support
        text = f"{value:.6g}"
        return text if any(c in text for c in ".en") else f"{text}.0"
    if isinstance(value, int):
        return str(value)
    # JSON's escapes are valid TOML; TOML also refuses DEL, and UTF-8 refuses lone surrogates
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
