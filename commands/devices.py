"""`sizer devices`: known devices, every number with its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from commands.console import JSON, OUTPUT, Form, chosen_form, out, out_json, out_rows
from sizer.devices.catalogue import devices_named, load_devices
from sizer.devices.device import Device, DeviceKind, Fact
from sizer.devices.profile import Profile
from sizer.errors import UnknownName
from sizer.runtimes import runtime
from sizer.units import format_bytes, format_bytes_binary


def devices_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as phone.")] = None,
    runtime_name: Annotated[
        str | None, typer.Option("--runtime", help="Only devices whose speed is known with this runtime.")
    ] = None,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """List devices, or those of a set such as mid-range; with NAME, show every number and its source.

    \b
    Examples:
      sizer devices
      sizer devices raspberry-pi-5
      sizer devices "M2 MacBook Air"
      sizer devices mid-range
      sizer devices --kind phone --runtime executorch
      sizer devices host --json
    """
    form = chosen_form(json_output, output)
    kinds = tuple(one.value for one in DeviceKind)
    if kind is not None and kind not in kinds:
        raise UnknownName.of("kind", kind, kinds)
    if runtime_name is not None:
        runtime_name = runtime(runtime_name).name
    members = () if name is None else devices_named(name)
    if len(members) == 1:
        (found,) = members
        if form is Form.JSON:
            out_json(_device_document(found))
        elif form is not Form.TABLE:
            out_rows({"devices": [_device_document(found)]}, "devices", form)
        else:
            out(_device_table(found))
        return
    known = [
        d
        for d in members or load_devices().values()
        if (kind is None or d.kind.value == kind) and (runtime_name is None or _is_timed(d, runtime_name))
    ]
    if form is not Form.TABLE:
        out_rows({"devices": [_device_document(d) for d in known]}, "devices", form)
        return
    out(_list(known))


def _list(known: Sequence[Device]) -> Any:
    from reports.text.text_table import Column, TextTable
    from sizer.devices.usable_memory import usable_memory

    rows = []
    for d in known:
        bandwidth = d.bandwidth_bytes_per_s
        usable = usable_memory(d.variants()[0], d.backends[0]).num_bytes
        rows.append(
            (
                d.name,
                d.kind.value,
                _bytes_of(d.ram_bytes),
                format_bytes_binary(usable) if usable is not None else "unknown",
                f"{bandwidth.value / 1e9:.3g} GB/s" if bandwidth else "unknown",
                d.title,
            )
        )
    return TextTable(
        columns=(
            Column(name="name", is_key=True),
            Column(name="kind", drop=3),
            Column(name="RAM", right=True),
            Column(name="app memory limit", right=True),
            Column(name="bandwidth", right=True, drop=2),
            Column(name="device", drop=1),
        ),
        rows=tuple(rows),
    )


def _is_timed(found: Device, runtime_name: str) -> bool:
    """Return True if a benchmark of this runtime on the device, or on one like it, is in the data."""
    timed = (_backend_document(found, backend)["timed_runtimes"] for backend in found.backends)
    return any(runtime_name in names for names in timed)


def _bytes_of(fact: Fact | None) -> str:
    return format_bytes_binary(fact.value) if fact else "unknown"


def _device_document(found: Device) -> dict[str, Any]:
    return {
        "name": found.name,
        "title": found.title,
        "kind": found.kind.value,
        "soc": found.soc,
        "backends": [_backend_document(found, name) for name in found.backends],
        "ram_gib": list(found.known_gib),
        "sets": list(found.sets),
        **{
            key: {"value": fact.value, "source": fact.source, "date": fact.date}
            for key, fact in found.facts.items()
        },
        **({"profiles": [_profile_document(p) for p in found.profiles]} if found.profiles else {}),
    }


def _profile_document(profile: Profile) -> dict[str, Any]:
    """Return what a device file states of a runtime's speeds, and why they are not to be trusted, if so."""
    return {"runtime": profile.runtime, "backend": profile.backend, "doubt": profile.doubt or None}


def _backend_document(found: Device, name: str) -> dict[str, Any]:
    """Return what is known of a device's backend: its memory, bandwidth and the engines timed on it."""
    from sizer.devices.constants import profiles
    from sizer.devices.latency import bandwidth_on, own_profile
    from sizer.devices.profile import kind_of
    from sizer.devices.usable_memory import usable_memory

    memory = usable_memory(found.variants()[0], name)
    timed = [engine for device_name, _, engine, _ in profiles().blocks if device_name == found.rows_name]
    return {
        "name": name,
        "kind": kind_of(name),
        "memory_budget_bytes": memory.num_bytes,
        "memory_rule": memory.why,
        "bandwidth_bytes_per_s": bandwidth_on(found, name),
        "timed_runtimes": [e for e in dict.fromkeys(timed) if own_profile(found, e, name) is not None],
    }


def _device_table(found: Device) -> Any:
    from rich.table import Table

    table = Table(title=f"{found.name}: {found.title}")
    for column in ("fact", "value", "source", "date"):
        table.add_column(column, overflow="fold")  # names and addresses are whole, if on several lines
    for key, fact in found.facts.items():
        shown = format_bytes(fact.value) if key.endswith("_bytes") else f"{fact.value:,.6g}"
        table.add_row(key, shown, fact.source, fact.date)
    for name in found.backends:
        backend = _backend_document(found, name)
        limit = backend["memory_budget_bytes"]
        facts = [f"{format_bytes_binary(limit)} for one program" if limit else "memory limit unknown"]
        if backend["timed_runtimes"]:
            facts.append("timed with " + ", ".join(backend["timed_runtimes"]))
        table.add_row(f"on {name}", "; ".join(facts), backend["memory_rule"], "")
    for profile in found.profiles:
        state = f"measured; not to be trusted: {profile.doubt}" if profile.doubt else "measured"
        table.add_row(f"{profile.runtime} on {profile.backend}", state, "the device file", "")
    return table
