"""Profile: constants fitted to measured speeds of one device under one runtime."""

from __future__ import annotations

from typing import NamedTuple

from sizer.errors import InvalidFile
from sizer.prediction import Basis

# Where the arithmetic runs, by kind; the engine chooses among those of a device, or the user.
BACKEND_KINDS = {
    "cpu": ("cpu",),
    # "rpc": another machine's; "other": what llama-bench names and this list does not
    "gpu": (
        *("metal", "cuda", "rocm", "vulkan", "opencl", "webgpu", "sycl", "musa", "openvino", "rpc", "other"),
    ),
    # Apple's Neural Engine, Qualcomm's Hexagon, Rockchip's, AMD's and Huawei's
    "npu": ("ane", "hexagon", "rknpu", "xdna", "cann"),
}
BACKENDS = tuple(name for names in BACKEND_KINDS.values() for name in names)

# A format further from the measured ones (in bits per weight) runs other kernels: the wider range applies.
_BITS_MARGIN = 1.25


class Profile(NamedTuple):
    """Constants of one device under one runtime; factors span 80 % of held-out rows around a prediction.

    decode, seconds/token = seconds_fixed + seconds_per_layer x executed layers + bytes x cost / bytes_per_s
    + step_element_s x inputs and outputs of the blocks' matrices
    + kv_element_s x elements of one cached position (a runtime that reads its whole static cache each step).
    `sizer.devices.speed_model` has the formulas.
    """

    runtime: str
    backend: str
    basis: Basis
    seconds_fixed: float
    seconds_per_layer: float
    bytes_per_s: float
    bits_low: float
    bits_high: float
    decode_factor: float
    float_byte_cost: float = 1.0  # cost of a byte of 16- and 32-bit weights, relative to other bytes
    byte_cost: tuple[
        tuple[str, float], ...
    ] = ()  # relative cost of a byte by stored type; 1 for types not named
    kv_byte_cost: float = 1.0
    step_element_s: float = 0.0  # of a decoding step: rows and columns of matrices, besides their bytes
    kv_element_s: float = 0.0
    float_kv_element_s: float = 0.0  # additional, in models of 16- and 32-bit weights
    ops_per_s: float = 0.0  # 0: no prefill was measured
    float_op_cost: float = 1.0
    op_cost: tuple[tuple[str, float], ...] = ()  # relative cost of an operation by stored type
    prompt_fixed_s: float = 0.0  # of each call that reads prompt tokens
    call_tokens: int = 0  # prompt tokens that the engine reads at once; 0: those of the workload
    activation_element_s: float = 0.0  # per token of a prompt: norms, rotations, products between matrices
    prefill_factor: float = 0.0
    attention_op_s: float = 0.0  # of an operation between tokens, more than of one with a weight
    init_s: float = 0.0
    init_seconds_per_byte: float = 0.0
    load_factor: float = 0.0  # 0: no start-up was measured
    doubt: str = ""  # why the speeds are not to be trusted; empty where nothing speaks against them

    @property
    def bits_range(self) -> tuple[float, float]:
        """Return the bits per weight for which the decode range holds: the measured ones with a margin."""
        return self.bits_low / _BITS_MARGIN, self.bits_high * _BITS_MARGIN


def kind_of(backend: str) -> str:
    """Return "cpu", "gpu" or "npu"."""
    return next(kind for kind, names in BACKEND_KINDS.items() if backend in names)


def backend_name(text: object, where: str) -> str:
    """Return the backend of that name; InvalidFile otherwise."""
    if isinstance(text, str) and text in BACKENDS:
        return text
    raise InvalidFile(f"{where}: unknown value {text!r}; accepted: {', '.join(BACKENDS)}")
