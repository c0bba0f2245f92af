"""The size page as a command line and as Python: both give the same numbers."""

from __future__ import annotations

import json
import shlex
from dataclasses import MISSING, fields
from enum import StrEnum

from explorer.pages.size.state import request_of, shortest
from explorer.state import Values
from sizer.architecture import Architecture, LayerSharing
from sizer.model_estimate import Estimate
from sizer.registry import models


def as_command(values: Values) -> str:
    """Return the `sizer estimate` command that gives the page's estimate."""
    return shlex.join(["sizer", "estimate", *shortest(request_of(values), values).to_arguments()])


def as_python(sized: Estimate) -> str:
    """Return a script that prints this estimate as JSON."""
    a, load = sized.architecture, sized.workload
    known = models().get(a.name)
    imports = {"sizer.model_estimate": {"estimate"}, "sizer.workload": {"Workload"}}
    if known is not None and known.architecture == a:
        imports["sizer.registry"] = {"model"}
        shape = f"model({_text(a.name)}).architecture"
    else:
        shape = _constructed(a, imports.setdefault("sizer.architecture", set()))
    device = "None"
    if sized.device is not None:
        imports["sizer.devices.catalogue"] = {"device"}
        device = f"device({_text(sized.device.name)})"
    lines = ["import json", ""]
    lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(imports.items())]
    workload = f"Workload.within({load.context_tokens}, {_text(load.cache_type)})"
    arguments = {
        "architecture": shape,
        "format": _text(sized.format),
        "runtime": _text(sized.runtime),
        "workload": workload,
        "device": device,
    }
    called = "".join(f"    {name}={value},\n" for name, value in arguments.items())
    return (
        "\n".join(lines) + f"\n\nsized = estimate(\n{called})\nprint(json.dumps(sized.to_dict(), indent=2))\n"
    )


def _constructed(a: Architecture, names: set[str]) -> str:
    """Return Architecture(...) with every field that differs from its default; add its imports to `names`."""
    names.add("Architecture")
    lines = []
    for f in fields(a):
        value = getattr(a, f.name)
        if f.default is MISSING or value != f.default:
            lines.append(f"        {f.name}={_literal(value, names)},\n")
    return f"Architecture(\n{''.join(lines)}    )"


def _literal(value: object, names: set[str]) -> str:
    match value:
        case StrEnum():
            names.add(type(value).__name__)
            return f"{type(value).__name__}.{value.name}"
        case LayerSharing(strategy=strategy, repeat=repeat):
            names.add("LayerSharing")
            return f"LayerSharing(strategy={_literal(strategy, names)}, repeat={repeat})"
        case str():
            return _text(value)
        case _:
            return repr(value)


def _text(value: str) -> str:
    """Return a text as a Python literal in double quotes and ASCII: names come from files and links."""
    # letters beyond 16 bits are two escapes in JSON, and one in Python
    return json.dumps(value) if value.isascii() else ascii(value)
