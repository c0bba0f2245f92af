"""A device file, usable as `--device my-board.toml`: a [device] table, a [[profile]] of costs per runtime."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sizer.device import HOST, DeviceKind, Fact
from sizer.errors import InvalidFile, UnknownName, shown
from sizer.measure.speed_fit import SpeedFit, median_error

_FIRST_WORDS = "# Written by sizer calibrate"
_PROFILE = "[[profile]]"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFile:
    """What a device file says: the device, how it was measured, and its costs."""

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

    def text(self, kept: Sequence[str] = ()) -> str:
        """The file as TOML; `kept` are profiles of other runtimes, as text, that stand before this one's."""
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
        """Its own profile as TOML."""
        fit, costs = self.fit, self.fit.costs
        bits = [s.model.work.bits_per_weight for s in fit.samples]
        profile: dict[str, object] = {
            "runtime": self.runtime,
            "backend": self.backend,
            "source": self.source,
            "date": self.date,
            "seconds_fixed": costs.fixed_s,
            "seconds_per_layer": costs.layer_s,
            "bytes_per_s": 1 / costs.byte_s,
            "byte_cost": {name: cost / costs.byte_s for name, cost in costs.type_byte_s.items()},
            "bits_low": min(bits),
            "bits_high": max(bits),
            "decode_factor": fit.decode_factor,
        }
        if costs.op_s is not None:
            profile["ops_per_s"] = 1 / costs.op_s
            profile["op_cost"] = {name: cost / costs.op_s for name, cost in costs.type_op_s.items()}
            profile["activation_element_s"] = costs.activation_element_s
            profile["prefill_factor"] = fit.prefill_factor
        if costs.init_s is not None:
            profile["init_s"] = costs.init_s
            profile["init_seconds_per_byte"] = costs.init_byte_s
            profile["load_factor"] = fit.load_factor
        return "\n".join([_PROFILE, *self._comments(), *_lines(profile), ""])

    def _comments(self) -> list[str]:
        """What no key says: how well the costs predict a shape that was left out."""
        lines = []
        for what, errors in (("decode", self.fit.decode_errors), ("prefill", self.fit.prefill_errors)):
            error = median_error(errors.values())
            if error is not None:
                lines.append(
                    f"# {what}: median error {error:.1%} of {len(errors)} models with their shape left out."
                )
        return lines


def check_device_name(name: str) -> str:
    """The name for a device file; UnknownName's one line where it cannot be one."""
    if not _NAME.fullmatch(name) or name.lower() == HOST:
        raise UnknownName(
            f"name: {shown(name)} cannot name a device; accepted: up to 64 letters, digits, '.', '_' "
            f"and '-', beginning with a letter or digit, and not {HOST!r}"
        )
    return name


def check_device_kind(text: str) -> DeviceKind:
    """The kind of device of that name; UnknownName lists them."""
    for kind in DeviceKind:
        if kind.value == text.strip().lower():
            return kind
    raise UnknownName.of("kind of device", text, [kind.value for kind in DeviceKind])


def check_out(path: Path) -> Path:
    """A path that may be written: nothing is there yet, or a file that sizer calibrate wrote."""
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
    """What an earlier file says: of which device it is, and its profiles as text by runtime and backend."""

    name: str
    soc: str | None
    profiles: Mapping[tuple[str, str], str]


def _read_earlier(path: Path) -> _Earlier:
    """The file at a path that sizer calibrate wrote; InvalidFile where somebody changed it past reading."""
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
    """Write it whole or not at all; names of other runtimes whose profiles stay in the file.

    They stay where an earlier file is of the same device: name and processor. InvalidFile where the path
    cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    kept: dict[tuple[str, str], str] = {}
    try:
        if path.exists():
            earlier = _read_earlier(path)
            if (earlier.name, earlier.soc) == (found.name, found.soc):
                kept = {**earlier.profiles}
                kept.pop((found.runtime, found.backend), None)
        part.write_text(found.text(tuple(kept.values())), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
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
        # six digits: more than timings say
        text = f"{value:.6g}"
        return text if any(c in text for c in ".en") else f"{text}.0"
    if isinstance(value, int):
        return str(value)
    # JSON's escapes are TOML's; of what JSON leaves as it is, TOML does not take DEL, nor UTF-8 half a pair
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
