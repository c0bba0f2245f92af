"""What is on the size page as a command line and as Python: both give the same numbers."""

from __future__ import annotations

import json
import shlex
from dataclasses import MISSING, fields, replace
from enum import StrEnum
from typing import Any

from explorer.size_controls import COUNT, FROM_COUNT, START
from explorer.size_state import Values, start_of
from sizer.architecture import Architecture, LayerSharing
from sizer.estimate import Estimate
from sizer.registry import models
from sizer.runtimes import runtime
from sizer.shape_code import PREFIX, shape_code
from sizer.workload import Workload

# Fields that `sizer estimate` has an option for.
_OPTIONS = (
    *("num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "head_dim"),
    "vocab_size",
)


def as_command(sized: Estimate, values: Values) -> str:
    """`sizer estimate` with the options that give this estimate."""
    words = ["sizer", "estimate", *_model_words(sized.architecture, values), "--format", sized.format]
    engine, load = runtime(sized.runtime), sized.workload
    if engine.name != "llama.cpp":
        words += ["--runtime", engine.name]
    if sized.device is not None:
        words += ["--device", sized.device.name]
    if load.context_tokens != Workload().context_tokens:
        words += ["--context", str(load.context_tokens)]
    if load.cache_type != engine.cache_types[0]:
        words += ["--cache-type", load.cache_type.lower()]
    return shlex.join(words)


def _model_words(a: Architecture, values: Values) -> list[str]:
    """A known model with options, a parameter count, or the shape in full where options cannot say it."""
    start = start_of(values)
    if values[START.key] == FROM_COUNT and a == start:
        return ["--params", values[COUNT.key]]
    known = models().get(start.name)
    if known is not None and known.architecture == start:
        options = _options(start, a)
        if options is not None:
            return [start.name, *options]
    return [f"{PREFIX}{shape_code(a)}"]


def _options(start: Architecture, a: Architecture) -> list[str] | None:
    """Options that change one architecture into another; None where there are none for some field."""
    given: dict[str, Any] = {f: getattr(a, f) for f in _OPTIONS if getattr(a, f) != getattr(start, f)}
    words = [word for f, value in given.items() for word in (f"--{f.replace('_', '-')}", str(value))]
    if a.tie_embeddings != start.tie_embeddings:
        given["tie_embeddings"] = a.tie_embeddings
        words.append("--tie-embeddings" if a.tie_embeddings else "--no-tie-embeddings")
    if a.sharing != start.sharing:
        given["sharing"] = a.sharing
        words += ["--sharing", a.sharing.strategy.value, "--repeat", str(a.sharing.repeat)]
    return words if replace(start, **given) == a else None


def as_python(sized: Estimate) -> str:
    """A script that prints this estimate as JSON."""
    a, load = sized.architecture, sized.workload
    known = models().get(a.name)
    imports = {"sizer.estimate": {"estimate"}, "sizer.workload": {"Workload"}}
    if known is not None and known.architecture == a:
        imports["sizer.registry"] = {"model"}
        shape = f"model({_text(a.name)}).architecture"
    else:
        shape = _constructed(a, imports.setdefault("sizer.architecture", set()))
    device = "None"
    if sized.device is not None:
        imports["sizer.device"] = {"device"}
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
    """Architecture(...) with every field that is not at its default; adds what it needs to the names."""
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
    """A text as Python writes it, in double quotes and plain letters: names come from files and links."""
    # letters beyond 16 bits are two escapes in JSON, and one in Python
    return json.dumps(value) if value.isascii() else ascii(value)
