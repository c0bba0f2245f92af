"""One run of llama-bench, its fields checked, and the settings in which runs of one profile must agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from sizer.calibration.bench_text import ACCEPTED, COUNT_ROUNDING, FIELD, SIZE_ROUNDING
from sizer.errors import InvalidFile, shown
from sizer.workload import CACHE_TYPES

_MAX_COUNT = 10**15
_MAX_TOKENS = 10**8
_MAX_NAME = 200  # letters
# Slower or faster than any machine: a field in another unit, or no timing at all
_MIN_TOKENS_PER_S, _MAX_TOKENS_PER_S = 1e-4, 1e8
_ALL_LAYERS = 99  # llama-bench's default until 2026; newer ones print -1
ALL, NO = "all", "0"
_NOT_STATED = "not stated"
_DEFAULT_UBATCH = 512

# Names of back ends and their devices as llama.cpp prints them (ggml_backend_reg_name and the names of its
# devices, in lower case, without digits), and as device files have them.
BACKENDS: Mapping[str, str] = {
    "cuda": "cuda",
    "rocm": "rocm",
    "hip": "rocm",
    "musa": "musa",
    "metal": "metal",
    "mtl": "metal",
    "vulkan": "vulkan",
    "kompute": "vulkan",
    "opencl": "opencl",
    "gpuopencl": "opencl",
    "sycl": "sycl",
    "cann": "cann",
    "htp": "hexagon",
    "hexagon": "hexagon",
    "openvino": "openvino",
    "webgpu": "webgpu",
    "rpc": "rpc",
    "cpu": "cpu",
    "blas": "cpu",
    "accelerate": "cpu",
    "zendnn": "cpu",
    "amx": "cpu",
    "kleidiai": "cpu",
    "none": "cpu",
}
OTHER = "other"
# Until 2024-11 each back end had a separate field
_OLD_BACKENDS = ("cuda", "metal", "vulkan", "kompute", "sycl", "cann", "musa", "opencl", "rpc", "gpu_blas")


class Setting(NamedTuple):
    """A setting in which runs may differ: its name in plain words, and the option that picks a value."""

    words: str
    option: str


# Less usual settings, by llama-bench's names; picked by --only NAME=VALUE
_OTHERS: Mapping[str, str] = {
    "build_commit": "build",
    "cpu_info": "processor",
    "gpu_info": "GPU",
    "devices": "devices",
    "main_gpu": "main GPU",
    "tensor_split": "shares of the GPUs",
    "tensor_buft_overrides": "places of tensors",
    "no_kv_offload": "cache kept on the CPU",
    "no_op_offload": "operations kept on the CPU",
    "no_host": "buffers without the host's",
    "use_mmap": "mapped file",
    "use_direct_io": "direct reading",
    "load_mode": "way of loading",
    "repack": "repacked weights",
    "embeddings": "embeddings",
    "mul_mat_q": "quantized products",
    "f16_kv": "16-bit cache",
    "cpu_mask": "mask of cores",
    "cpu_strict": "fixed cores",
    "poll": "polling",
}
ONLY = tuple(_OTHERS)
# What older versions, which lack a field, and tables, which leave defaults out, did
_DEFAULTS: Mapping[str, Any] = {
    "devices": "auto",
    "main_gpu": 0,
    "tensor_split": "0.00",
    "tensor_buft_overrides": "none",
    "no_kv_offload": False,
    "no_op_offload": False,
    "no_host": False,
    "use_mmap": True,
    "use_direct_io": False,
    "load_mode": "auto",
    "repack": True,
    "embeddings": False,
    "mul_mat_q": True,
    "f16_kv": True,
    "cpu_mask": "0x0",
    "cpu_strict": False,
    "poll": 50,
}
_YES_OR_NO = frozenset(name for name, value in _DEFAULTS.items() if isinstance(value, bool))
# In the order in which a file with several is asked about: the back end decides most of the others.
SETTINGS: Mapping[str, Setting] = {
    "backend": Setting("back end", "--backend"),
    "gpu_layers": Setting("layers on the GPU", "--gpu-layers"),
    "cpu_moe": Setting("layers whose experts stay on the CPU", "--cpu-moe"),
    "threads": Setting("threads", "--threads"),
    "flash_attention": Setting("flash attention", "--flash-attention or --no-flash-attention"),
    "cache_type": Setting("cache type", "--cache-type"),
    "batch_size": Setting("batch size", "--batch-size"),
    "ubatch_size": Setting("micro-batch size", "--ubatch-size"),
    "split_mode": Setting("split between GPUs", "--split-mode"),
    **{name: Setting(words, f"--only {name}=VALUE") for name, words in _OTHERS.items()},
}


class BenchRun:
    """One row of a file, its fields checked."""

    def __init__(self, origin: str, number: int, entry: dict[str, Any]) -> None:
        self._where = f"{FIELD}: {origin}: run {number}"
        self._entry = entry
        if not isinstance(entry.get("model_filename"), str):
            raise self._wrong("model_filename", "text")
        name = entry["model_filename"].replace("\\", "/").rsplit("/", 1)[-1]
        self.file_name = shown_value(name, _MAX_NAME)
        self.model_type = shown_value(self.text("model_type"), _MAX_NAME)
        self.size = self._whole("model_size", low=1)
        self.n_params = self._whole("model_n_params", low=1)
        self.size_rounding = self._whole(SIZE_ROUNDING, default=0)
        self.count_rounding = self._whole(COUNT_ROUNDING, default=0)
        self.n_prompt = self._whole("n_prompt", high=_MAX_TOKENS)
        self.n_gen = self._whole("n_gen", high=_MAX_TOKENS)
        self.n_depth = self._whole("n_depth", default=0, high=_MAX_TOKENS)
        self.n_ubatch = self._whole("n_ubatch", low=1, default=_DEFAULT_UBATCH, high=_MAX_TOKENS)
        self.threads = self._whole("n_threads", low=1) if "n_threads" in entry else None
        self.cache_types = self._cache_type("type_k"), self._cache_type("type_v")
        self.backend = self._backend()
        self.gpu_layers = self._gpu_layers()
        self.repeats, self.seconds, self.spread = self._timings()

    @property
    def model(self) -> tuple[str, str, int, int]:
        """Return what identifies a model file: its name and kind, bytes of tensors, number of weights."""
        return self.file_name, self.model_type, self.size, self.n_params

    @property
    def test(self) -> str:
        """Return the test in llama-bench's words, such as "pp512" or "tg128 @ d4096"."""
        parts = [f"pp{self.n_prompt}"] * bool(self.n_prompt) + [f"tg{self.n_gen}"] * bool(self.n_gen)
        return "+".join(parts) + (f" @ d{self.n_depth}" if self.n_depth else "")

    def text(self, key: str) -> str:
        """Return a field's text; empty where there is none."""
        value = self._entry.get(key)
        return value if isinstance(value, str) else ""

    def settings(self, layers: int | None) -> dict[str, str]:
        """Return the value of every setting in plain words; `layers` of its model, None where unknown."""
        k, v = (name.lower() for name in self.cache_types)
        on_gpu = self.backend != "cpu"
        found = {
            "backend": self.backend if self.backend != OTHER else shown_value(self._backend_text().lower()),
            "gpu_layers": self.layers_on_gpu(layers),
            "cpu_moe": str(self._whole("n_cpu_moe", default=0)) if on_gpu else NO,
            "threads": _NOT_STATED if self.threads is None else str(self.threads),
            "flash_attention": self._flash_attention(),
            "cache_type": k if k == v else f"{k}/{v}",
            "batch_size": str(self._whole("n_batch", low=1, default=2048)),
            "ubatch_size": str(self.n_ubatch),
            "split_mode": (shown_value(self.text("split_mode")) or "layer") if on_gpu else "layer",
        }
        return found | {
            name: _plain(self._entry.get(name, _DEFAULTS.get(name)), name in _YES_OR_NO) for name in _OTHERS
        }

    def layers_on_gpu(self, layers: int | None) -> str:
        """Return "all", "0" or the number of layers on the GPU; the output head counts as one more layer."""
        if self.backend == "cpu":
            return NO
        whole = _ALL_LAYERS if layers is None else layers + 1
        return ALL if self.gpu_layers < 0 or self.gpu_layers >= whole else str(self.gpu_layers)

    def _wrong(self, key: str, accepted: str) -> InvalidFile:
        if key not in self._entry:
            column = {"model_size": " (column size)", "model_n_params": " (column params)"}.get(key, "")
            return InvalidFile(f"{self._where}: has no {key}{column}; accepted: {ACCEPTED}")
        return InvalidFile(
            f"{self._where}: {key} must be {accepted}, got {shown(self._entry.get(key))}; "
            f"accepted: {ACCEPTED}"
        )

    def _whole(self, key: str, *, low: int = 0, high: int = _MAX_COUNT, default: int | None = None) -> int:
        value = self._entry.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(key, f"a whole number of at least {low}")
        return value

    def _timings(self) -> tuple[int, float, float]:
        """Return the number of repeats, their median seconds, and their relative standard deviation.

        Without a list of repeats: their mean, and 0 repeats.
        """
        tokens = self.n_prompt + self.n_gen
        low_s, high_s = tokens / _MAX_TOKENS_PER_S, tokens / _MIN_TOKENS_PER_S
        listed = self._entry.get("samples_ns")
        if isinstance(listed, list) and listed:
            seconds = [self._number("samples_ns", value, 1e-9, low_s, high_s) for value in listed]
            spread = stdev(seconds) / fmean(seconds) if len(seconds) > 1 else 0.0
            return len(seconds), median(seconds), spread
        if "avg_ns" in self._entry or "avg_ts" not in self._entry:
            mean = self._number("avg_ns", self._entry.get("avg_ns"), 1e-9, low_s, high_s)
            deviation, whole = self._entry.get("stddev_ns"), mean * 1e9
        else:
            whole = self._number("avg_ts", self._entry["avg_ts"], 1.0, _MIN_TOKENS_PER_S, _MAX_TOKENS_PER_S)
            mean, deviation = tokens / whole, self._entry.get("stddev_ts")
        known = isinstance(deviation, int | float) and 0 <= deviation < float("inf")
        return 0, mean, deviation / whole if known and deviation else 0.0

    def _number(self, key: str, value: Any, unit: float, low: float, high: float) -> float:
        accepted = "tokens per second" if unit == 1 else "nanoseconds above 0"
        # NaN fails the comparison, too
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MAX_COUNT * 1000:
            raise self._wrong(key, accepted)
        if not low <= value * unit <= high:
            raise self._wrong(
                key, f"{accepted}, from {_MIN_TOKENS_PER_S:g} to {_MAX_TOKENS_PER_S:g} tokens per second"
            )
        return value * unit

    def _cache_type(self, key: str) -> str:
        name = (self.text(key) or "f16").upper()
        if name not in CACHE_TYPES:
            raise self._wrong(key, f"one of {', '.join(CACHE_TYPES)}")
        return name

    def _flash_attention(self) -> str:
        if "flash_attn" not in self._entry:
            return _NOT_STATED  # the default: off, and auto from 2025 on
        value = self._entry["flash_attn"]
        if isinstance(value, str):
            value = {"0": 0, "off": 0, "false": 0, "1": 1, "on": 1, "true": 1, "-1": -1, "auto": -1}.get(
                value.lower(), value
            )
        if not isinstance(value, int) or not -1 <= value <= 1:
            raise self._wrong("flash_attn", "off, on or auto (0, 1 or -1)")
        return ("off", "on", "auto")[value]

    def _gpu_layers(self) -> int:
        value = self._entry.get("n_gpu_layers", -1)
        if isinstance(value, bool) or not isinstance(value, int) or not -(10**6) <= value <= 10**6:
            raise self._wrong("n_gpu_layers", "a whole number of layers, or -1 for all")
        return value

    def _backend_text(self) -> str:
        """Return the back ends as printed; of old versions, the name of the field that is true."""
        if "backends" in self._entry or not any(name in self._entry for name in _OLD_BACKENDS):
            return self.text("backends")
        named = [name for name in _OLD_BACKENDS if self._entry.get(name) not in (None, False, 0, "", "0")]
        if named[:1] == ["cuda"] and any(name in self.text("gpu_info").lower() for name in ("amd", "radeon")):
            return "rocm"  # built from CUDA's sources
        return named[0] if named else "cpu"

    def _backend(self) -> str:
        """Return the back end that the layers run on; only known CPU libraries are the CPU."""
        if self._entry.get("n_gpu_layers") == 0:
            return "cpu"
        chosen = self.text("devices")
        listed = chosen if chosen.lower() not in ("", "auto") else self._backend_text()
        names = [name.strip().lower().rstrip("0123456789") for name in listed.replace("/", ",").split(",")]
        found = [BACKENDS.get(name, OTHER) for name in names if name]
        on_gpu = [name for name in found if name != "cpu"]
        # with RPC some layers may be on another machine
        return "rpc" if "rpc" in on_gpu else next(iter(on_gpu), "cpu")


def _plain(value: Any, yes_or_no: bool) -> str:
    """Return a field's value in words, on one line."""
    if isinstance(value, bool) or (yes_or_no and isinstance(value, int)):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return f"{value:.6g}" if isinstance(value, int | float) and abs(value) < _MAX_COUNT else _NOT_STATED
    return shown_value(value) or _NOT_STATED


def pick(
    origin: str, runs: Sequence[tuple[BenchRun, Mapping[str, str]]], wanted: Mapping[str, str]
) -> tuple[list[BenchRun], Mapping[str, str]]:
    """Return the runs that have the wanted settings, and the settings that all of them share.

    InvalidFile where no run has them, or where the runs still differ in a setting: times under different
    settings are never put together.
    """
    kept = _completed(runs)
    for name, value in wanted.items():
        matching = [run for run in kept if _matches(name, run[1][name], value, kept)]
        if not matching:
            setting, there = SETTINGS[name], _values(name, (found for _, found in kept))
            raise InvalidFile(
                f"{FIELD}: {origin} has no runs with {setting.words} {shown_value(value)}, only with "
                f"{', '.join(there)}; accepted: {setting.option} with one of them"
            )
        kept = matching
    several = _several([found for _, found in kept])
    if several:
        texts = [f"{SETTINGS[name].words} {', '.join(values)}" for name, values in several.items()]
        options = [SETTINGS[name].option for name in several]
        raise InvalidFile(
            f"{FIELD}: {origin} holds runs of several set-ups: {'; '.join(texts)}; accepted: "
            f"{', '.join(options)} to pick one"
        )
    return [run for run, _ in kept], kept[0][1]


def _completed(
    runs: Sequence[tuple[BenchRun, Mapping[str, str]]],
) -> list[tuple[BenchRun, Mapping[str, str]]]:
    """Return the runs with the one value that others have where a run does not state a setting."""
    stated = {
        name: {s[name] for _, s in runs} - {_NOT_STATED} for name in ("build_commit", "cpu_info", "gpu_info")
    }
    single = {name: values.pop() for name, values in stated.items() if len(values) == 1}
    if {s["flash_attention"] for _, s in runs} == {_NOT_STATED, "off"}:
        single["flash_attention"] = "off"  # builds before it had the field had it off
    return [(run, {**s, **single}) for run, s in runs]


def shown_value(value: str, letters: int = 80) -> str:
    """Return a text of the file or of an option on one line, shortened."""
    return " ".join("".join(c if c.isprintable() else " " for c in value[:1000]).split())[:letters]


def _matches(name: str, value: str, wanted: str, runs: Sequence[tuple[BenchRun, Mapping[str, str]]]) -> bool:
    wanted = wanted.strip().lower()
    if name == "backend":
        wanted = BACKENDS.get(wanted, wanted)
    if name == "flash_attention" and wanted == "on" and not any(s[name] == "on" for _, s in runs):
        wanted = "auto"  # on wherever the back end has it
    if name == "flash_attention" and wanted == "off" and not any(s[name] == "off" for _, s in runs):
        wanted = _NOT_STATED
    if name == "gpu_layers" and wanted == "-1":
        wanted = ALL
    return value.lower() == wanted


def _values(name: str, settings: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the different values of a setting, numbers in their order; the first ones of many."""
    found = sorted({s[name] for s in settings}, key=lambda text: (not text.isdigit(), len(text), text))
    return found if len(found) <= 8 else [*found[:8], f"{len(found) - 8} more"]


def _several(settings: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the settings to decide on, each with its values: those that earlier ones do not decide."""
    groups, found = [list(settings)], {}
    for name in SETTINGS:
        if any(len({s[name] for s in group}) > 1 for group in groups):
            found[name] = _values(name, settings)
        split: dict[tuple[int, str], list[Mapping[str, str]]] = {}
        for number, group in enumerate(groups):
            for s in group:
                split.setdefault((number, s[name]), []).append(s)
        groups = list(split.values())
    return found
