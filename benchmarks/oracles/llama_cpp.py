"""Ask llama.cpp itself: the types its quantizer chooses and the bytes it allocates.

    python benchmarks/oracles/llama_cpp.py types  > tests/sizer/data/llama_cpp_types.jsonl
    python benchmarks/oracles/llama_cpp.py memory > tests/sizer/data/llama_cpp_memory.jsonl
    python benchmarks/oracles/llama_cpp.py weights > tests/sizer/data/llama_cpp_weights.jsonl

Needs `pip install llama-cpp-python==0.3.36 gguf` (a build of llama.cpp: minutes). The models have published
shapes but no data: a file of the right length with nothing written in it. llama.cpp loads each, which fails
on a tensor too many, too few, of another name or shape, so the rows also say that it runs such a layout.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import gguf
import llama_cpp

from benchmarks.oracles.llama_cpp_models import MODELS, WORKLOADS
from sizer.families.hf_config import architecture_from_config
from sizer.formats.ggml import TYPES
from sizer.formats.gguf import gguf_name, gguf_shape
from sizer.formats.gguf_layout import gguf_layout
from sizer.formats.llamacpp import BASE_TYPES
from sizer.runtimes.llamacpp import LlamaCpp

_FTYPES = {
    name.removeprefix("LLAMA_FTYPE_MOSTLY_").removeprefix("LLAMA_FTYPE_ALL_"): getattr(llama_cpp, name)
    for name in dir(llama_cpp)
    if name.startswith("LLAMA_FTYPE_")
}


class Log:
    """Lines that llama.cpp prints, kept instead of shown."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._callback = llama_cpp.llama_log_callback(
            lambda level, text, data: self.parts.append(text.decode())
        )
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p())

    def take(self) -> str:
        """Text since the last call."""
        text, self.parts = "".join(self.parts), []
        return text


@contextmanager
def model_file(config: Mapping[str, Any], matrices: str = "F16") -> Iterator[Path]:
    """A GGUF file of a model's shape, with matrices of that type and holes where the weights are."""
    a = architecture_from_config(config)
    layout = gguf_layout(a)
    name = {"llama": str(config["model_type"])}.get(str(layout), layout)
    stored = LlamaCpp().store(a, matrices)
    a = LlamaCpp().as_stored(a)
    heads: Any = list(a.layer_num_heads) or a.num_heads
    kv_heads: Any = a.num_kv_heads
    if a.layer_num_heads:
        kv_heads = [h * a.num_kv_heads // a.num_heads for h in a.layer_num_heads]
    if a.conv_layers:
        kv_heads = [0 if i in a.conv_layers else a.num_kv_heads for i in range(a.num_layers)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(str(path), str(name))
        writer.add_block_count(a.num_layers)
        writer.add_context_length(a.max_position_embeddings)
        writer.add_embedding_length(a.hidden_size)
        writer.add_feed_forward_length(list(a.layer_intermediate_sizes) or a.intermediate_size)
        writer.add_head_count(heads)
        writer.add_head_count_kv(kv_heads)
        writer.add_key_length(a.head_dim)
        writer.add_value_length(a.head_dim)
        writer.add_rope_dimension_count(a.head_dim)
        writer.add_layer_norm_eps(1e-5)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_vocab_size(a.vocab_size)
        writer.add_tokenizer_model("no_vocab")
        writer.add_parallel_residual(True)
        if layout == "gemma2":
            writer.add_attn_logit_softcapping(50.0)
            writer.add_final_logit_softcapping(30.0)
        if a.sliding_window:
            writer.add_sliding_window(a.sliding_window)
        if a.conv_layers:
            writer.add_shortconv_l_cache(a.conv_kernel)
        for tensor in stored:
            kind = gguf.GGMLQuantizationType[tensor.type.name]
            shape = gguf_shape(tensor.spec)
            if TYPES[tensor.type.name].block_elements > 1:
                shape = gguf.quant_shape_to_byte_shape(shape, kind)
            writer.add_tensor_info(
                gguf_name(tensor.spec), shape, _numpy_type(tensor.type.name), tensor.num_bytes, raw_dtype=kind
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        padded = sum(t.num_bytes + -t.num_bytes % 32 for t in stored)
        with path.open("r+b") as stream:
            start = stream.seek(0, 2)
            stream.truncate(start + -start % 32 + padded)
        yield path


def _numpy_type(name: str) -> Any:
    import numpy as np

    return {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16)}.get(name, np.dtype(np.uint8))


@contextmanager
def loaded(path: Path, log: Log, **changes: Any) -> Iterator[Any]:
    """The model as llama.cpp loads it; an error with its last words where it does not."""
    params = llama_cpp.llama_model_default_params()
    for name, value in changes.items():
        setattr(params, name, value)
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise SystemExit(f"llama.cpp refuses the file:\n{log.take()[-2000:]}")
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)


def types(path: Path, ftype: str, log: Log) -> dict[str, str]:
    """Type of every tensor after llama-quantize --dry-run, which asks for no importance matrix."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = _FTYPES[ftype]
    params.dry_run = True
    log.take()
    if llama_cpp.llama_model_quantize(str(path).encode(), b"", ctypes.byref(params)):
        raise SystemExit(f"llama-quantize {ftype}:\n{log.take()[-2000:]}")
    lines = re.findall(
        r"^\[ *\d+/ *\d+\] (\S+) +- \[.*?\], type = +(\w+), (?:warning.*\n)?"
        r"size = +[\d.]+ MiB(?: -> +[\d.]+ MiB \((\w+)\))?$",
        log.take(),
        re.MULTILINE,
    )
    return {name: (new or old).upper() for name, old, new in lines}


def by_role(types: Mapping[str, str]) -> dict[str, Any]:
    """Types by name without the block: one where all blocks agree, otherwise the blocks of each type."""
    found: dict[str, dict[str, list[int]]] = {}
    rows: dict[str, Any] = {}
    for name, kind in types.items():
        if block := re.fullmatch(r"blk\.(\d+)\.(.*)", name):
            found.setdefault(block[2], {}).setdefault(kind, []).append(int(block[1]))
        else:
            rows[name] = kind
    for role, kinds in found.items():
        rows[role] = next(iter(kinds)) if len(kinds) == 1 else kinds
    return dict(sorted(rows.items()))


def _print_types() -> None:
    log = Log()
    for name, config in MODELS.items():
        with model_file(config) as path:
            with loaded(path, log):
                pass
            rows = {ftype: by_role(types(path, ftype, log)) for ftype in BASE_TYPES}
        floats = [role for role in rows["F16"] if all(row[role] == "F32" for row in rows.values())]
        chosen = {f: {r: kind for r, kind in row.items() if r not in floats} for f, row in rows.items()}
        row = {"name": name, "config": config, "always_f32": floats, "types": chosen}
        print(json.dumps(row, separators=(",", ":")), flush=True)


def buffers(text: str) -> dict[str, float]:
    """MiB of each buffer that a log names, summed by kind (a model with windows has two caches)."""
    found: dict[str, float] = {}
    for kind, mib in re.findall(r"(\S+ +(?:model|KV|RS|compute|output)) buffer size = +([\d.]+) MiB", text):
        kind = " ".join(kind.split())
        found[kind] = round(found.get(kind, 0) + float(mib), 2)
    return found


def _print_memory() -> None:
    log = Log()
    for name, config in MODELS.items():
        with model_file(config) as path, loaded(path, log) as model:
            for n_ctx, n_ubatch, flash, cache, n_seq in WORKLOADS:
                params = llama_cpp.llama_context_default_params()
                params.n_ctx, params.n_batch, params.n_ubatch = n_ctx * n_seq, 2048, n_ubatch
                params.n_seq_max = n_seq
                params.flash_attn_type = int(flash)
                params.type_k = params.type_v = getattr(llama_cpp, f"GGML_TYPE_{cache}")
                params.swa_full = False
                log.take()
                context = llama_cpp.llama_init_from_model(model, params)
                if not context:
                    raise SystemExit(f"{name}: no context:\n{log.take()[-2000:]}")
                row = {
                    "name": name,
                    "config": config,
                    "n_ctx": n_ctx,
                    "n_ubatch": n_ubatch,
                    "flash_attention": flash,
                    "cache_type": cache,
                    "n_seq": n_seq,
                    "mib": buffers(log.take()),
                }
                llama_cpp.llama_free(context)
                print(json.dumps(row, separators=(",", ":")), flush=True)


def _print_weights() -> None:
    """Model buffers of files in some mixes: mapped, loaded, and with repacking (for the CPU this runs on)."""
    log = Log()
    names = ("gemma-3-270m", "a Llama of grouped heads", "a Llama of width 576", "pythia-160m", "LFM2-350M")
    for name in names:
        for mix in ("Q4_0", "Q4_K_M", "Q8_0", "Q2_K", "IQ4_NL", "Q5_K_M"):
            row: dict[str, Any] = {"name": name, "config": MODELS[name], "format": mix}
            with model_file(MODELS[name], mix) as path:
                for how, (mapped, repack) in {
                    "mapped": (llama_cpp.LLAMA_LOAD_MODE_MMAP, False),
                    "loaded": (llama_cpp.LLAMA_LOAD_MODE_NONE, False),
                    "repacked": (llama_cpp.LLAMA_LOAD_MODE_MMAP, True),
                }.items():
                    log.take()
                    with loaded(path, log, load_mode=mapped, use_extra_bufts=repack):
                        row[how] = buffers(log.take())
            print(json.dumps(row, separators=(",", ":")), flush=True)


COMMANDS: Mapping[str, Callable[[], None]] = {
    "types": _print_types,
    "memory": _print_memory,
    "weights": _print_weights,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]]()
