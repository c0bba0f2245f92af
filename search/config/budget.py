"""The budget of a search: where its models are deployed, and the limits they must keep there."""

from __future__ import annotations

from dataclasses import dataclass

from search.config.fields import POSITIVE, check_fields, setting, whole
from search.config.objectives import MOST_OBJECTIVES, Objective
from sizer.architecture import parse_enum
from sizer.devices.catalogue import device as device_by_name
from sizer.errors import InvalidQuantity
from sizer.runtimes import runtime as runtime_by_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Where a model is deployed, and the limits it must keep there."""

    device: str | None = setting("raspberry-pi-5", "device of `sizer devices`, or a device file")
    other_devices: tuple[str, ...] = setting(
        (), "devices on which the limits hold as well; of each cost the worst counts", may_be_empty=True
    )
    objectives: tuple[str, ...] = setting(
        ("bytes",),
        "what is weighed against the loss, up to three",
        choices=Objective,
        option="objective",
    )
    runtime: str = setting("llama.cpp", "runtime whose files, memory and speed count")
    max_size_bytes: int = setting(
        2_000_000,
        'max file size; text such as `"2MB"` is accepted too',
        whole(10_000, 10**12),
        option="max-size",
    )
    max_memory_bytes: int | None = setting(
        None,
        "memory limit; the device's own limit always counts",
        whole(1_000_000, 10**13),
        option="max-memory",
    )
    min_decode_tokens_per_s: float | None = setting(
        None, "min predicted decode speed", POSITIVE, option="min-decode"
    )
    context_tokens: int = setting(
        2048,
        "context length of the memory and speed figures, such as 4096 or 8k",
        whole(32, 1 << 20),
        option="context",
    )
    tokenizer_bytes: int | None = setting(
        None,
        "metadata and tokenizer inside a GGUF file; by default those of the tokenizer that is trained, or of "
        "a known one of that size where another is deployed or several are compared",
        whole(0, 10**9),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        runtime_by_name(self.runtime)
        if self.device is not None:
            device_by_name(self.device)
        elif self.min_decode_tokens_per_s is not None:
            raise InvalidQuantity("min_decode_tokens_per_s: needs a device to predict speed on")
        for name in self.other_devices:
            device_by_name(name)
        if self.device is None and self.other_devices:
            raise InvalidQuantity("other_devices: needs a device as well; accepted: the first as device")
        if len(set(self.devices)) < len(self.devices):
            raise InvalidQuantity(f"device: names a device twice, got {', '.join(map(str, self.devices))}")
        self._check_objectives()

    @property
    def devices(self) -> tuple[str | None, ...]:
        """Every device on which the limits must hold; one `None` without any."""
        return (self.device, *self.other_devices)

    def _check_objectives(self) -> None:
        given = [parse_enum(Objective, name, "objectives") for name in self.objectives]
        if len(set(given)) < len(given) or len(given) > MOST_OBJECTIVES:
            raise InvalidQuantity(
                f"objectives: must be up to {MOST_OBJECTIVES} different ones, got {', '.join(given)}"
            )
        without = [one for one in given if one.needs_device]
        if self.device is None and without:
            raise InvalidQuantity(f"objectives: {without[0]} needs a device to predict it on")
