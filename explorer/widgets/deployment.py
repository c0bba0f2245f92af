"""Controls of a deployment that pages share: device, runtime, format, context, cache type."""

from __future__ import annotations

from explorer.state import Choice, Number
from sizer.devices.catalogue import load_devices
from sizer.errors import InvalidQuantity
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.workload import CACHE_TYPES, Workload

NO_DEVICE = "none"
# Formats of every runtime; a menu shows those of the chosen one.
FORMATS = tuple(dict.fromkeys(name for engine in RUNTIME_NAMES for name in runtime(engine).formats))

# Addresses call the runtime "engine".
RUNTIME = Choice("engine", "Runtime", "llama.cpp", RUNTIME_NAMES, "What runs the model on the device.")
FORMAT = Choice("format", "Format", "Q4_K_M", FORMATS, "How the runtime's file stores the weights.")
DEVICE = Choice("device", "Device", "raspberry-pi-5", (NO_DEVICE, *load_devices()))
CONTEXT = Number("context", "Context (tokens)", Workload().context_tokens, 16, 2**20, 256)
CACHE = Choice("cache", "Cache type", "F16", CACHE_TYPES)


def device_title(name: str) -> str:
    """Return a device's name for people."""
    return "no device" if name == NO_DEVICE else load_devices()[name].title


def usual_format(runtime_name: str) -> str:
    """Return what the runtime's users mean by 4 bits, or by the most bits below."""
    engine = runtime(runtime_name)
    for bits in (4, 3, 2):
        try:
            return engine.format_for_bits(bits)
        except InvalidQuantity:
            continue
    return engine.formats[0]


def format_of_runtime(runtime_name: str, format_name: str) -> str:
    """Return the format, or the runtime's usual one if it lacks that format."""
    return format_name if format_name in runtime(runtime_name).formats else usual_format(runtime_name)
