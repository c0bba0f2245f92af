"""Reads broken files with bounded memory: `python -m tests.sizer.readers.fuzzing KIND COUNT SEED`.

Prints one JSON object: files read, refused, and every file that did something else than that.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

from sizer.errors import SizerError
from sizer.families.hf_config import config_from_architecture
from sizer.readers import read_model
from sizer.readers.inspection import inspect_file
from sizer.registry import models
from sizer.request import EstimateRequest
from sizer.requests.companions import projector_memory
from tests.published_facts import json_lines
from tests.sizer.readers import mutation
from tests.sizer.readers.handmade import (
    ARRAY,
    BOOL,
    FLOAT32,
    STRING,
    TINY,
    UINT32,
    UINT64,
    array,
    entry,
    gguf_bytes,
    pair,
    split_gguf,
    stored_bytes,
    text,
    write_gguf,
    write_safetensors,
)
from tests.sizer.readers.packed_layouts import LAYOUTS

SECONDS = 1.0
MEMORY_BYTES = 200_000_000
MESSAGE_LETTERS = 1000
_IN_MEMORY = Path("/dev/shm")
_SMALL = replace(TINY, vocab_size=32, num_layers=1)

# What is written where, and what is then read: a file is a name and its bytes.
Files = Callable[[Random], dict[str, bytes]]


def _gguf(folder: Path) -> tuple[Files, str]:
    valid = [_one_of_every_kind()]
    for number, (model, family) in enumerate(
        [(_SMALL, "llama"), (replace(_SMALL, qkv_bias=True, tie_embeddings=False), "qwen2")]
    ):
        write_gguf(folder / f"{number}.gguf", model, family=family, format="Q4_0")
        valid.append((folder / f"{number}.gguf").read_bytes())
    return lambda random: {"x.gguf": mutation.broken_gguf(random, random.choice(valid))}, "x.gguf"


def _unread(folder: Path) -> tuple[Files, str]:
    """Files of an architecture without a reader, whose cache is that of their keys."""
    write_gguf(folder / "plain.gguf", _SMALL, family="wonder", format="Q4_0")
    numbers = {
        **{"block_count": 4, "embedding_length": 64, "context_length": 512, "attention.key_length": 16},
        **{"attention.head_count": 4, "attention.sliding_window": 128, "full_attention_interval": 2},
        **{"attention.sliding_window_pattern": 2, "attention.shared_kv_layers": 1, "expert_count": 4},
        **{"ssm.conv_kernel": 4, "ssm.inner_size": 128, "ssm.state_size": 16, "expert_used_count": 2},
    }
    pairs = [pair("general.architecture", STRING, text("wonder"))]
    pairs += [pair(f"wonder.{key}", UINT32, n.to_bytes(4, "little")) for key, n in numbers.items()]
    kv_heads = b"".join(n.to_bytes(4, "little") for n in (2, 0, 2, 0))
    pairs.append(pair("wonder.attention.head_count_kv", ARRAY, array(UINT32, 4, kv_heads)))
    tensors = [
        entry("token_embd.weight", [64, 32], 0, 0),
        entry("blk.0.ffn_up_exps.weight", [64, 4], 99, 8192),
    ]
    valid = [(folder / "plain.gguf").read_bytes(), gguf_bytes(pairs, tensors, 64 * 200)]
    return lambda random: {"x.gguf": mutation.broken_gguf(random, random.choice(valid))}, "x.gguf"


def _one_of_every_kind() -> bytes:
    """A GGUF file with every value type, arrays in arrays, and tensors of no and of four dimensions."""
    scalars = [pair(f"scalar.{kind}", kind, bytes(size)) for kind, size in mutation.SCALAR_BYTES.items()]
    arrays = [
        pair("texts", ARRAY, array(STRING, 2, text("a") + text("b"))),
        pair("many texts", ARRAY, array(STRING, 70, text("ab") * 70)),
        pair("numbers", ARRAY, array(FLOAT32, 3, bytes(12))),
        pair("many numbers", ARRAY, array(UINT64, 1030, bytes(8 * 1030))),
        pair("nested", ARRAY, array(ARRAY, 2, array(BOOL, 2, bytes(2)) + array(STRING, 1, text("c")))),
        pair("general.alignment", UINT32, (64).to_bytes(4, "little")),
        pair("split.count", UINT32, (2).to_bytes(4, "little")),
    ]
    tensors = [entry("none", [], 0, 0), entry("four", [32, 2, 1, 1], 8, 64), entry("unknown", [1], 99, 192)]
    return gguf_bytes([*scalars, *arrays], tensors, 64 * 8)


def _safetensors(folder: Path) -> tuple[Files, str]:
    path = write_safetensors(folder, _SMALL)  # with config.json beside it
    valid = path.read_bytes()
    return lambda random: {path.name: mutation.broken_safetensors(random, valid)}, path.name


def _index(folder: Path) -> tuple[Files, str]:
    path = write_safetensors(folder, _SMALL, shards=3)
    valid = {file.name: file.read_bytes() for file in folder.glob("*.safetensors*")}

    def files(random: Random) -> dict[str, bytes]:
        new = dict(valid)
        if random.random() < 0.6:
            new[path.name] = mutation.broken_index(random, valid[path.name])
        else:
            shard = random.choice(sorted(valid.keys() - {path.name}))
            new[shard] = mutation.broken_safetensors(random, valid[shard])
        return new

    return files, path.name


def _packed(folder: Path) -> tuple[Files, str]:
    """Packed layouts one after another, config.json with their bits beside them."""
    shapes = {name: value for stored, *_ in LAYOUTS.values() for name, value in stored.items()}
    blocks = [config for _, config, _, _ in LAYOUTS.values() if config]
    path = folder / "model.safetensors"
    path.write_bytes(stored_bytes(shapes))
    valid = path.read_bytes()
    config = config_from_architecture(_SMALL)

    def files(random: Random) -> dict[str, bytes]:
        stored, block, _, _ = random.choice(list(LAYOUTS.values()))
        model = valid if random.random() < 0.3 else stored_bytes(stored)
        whole = {**config, **(block or random.choice(blocks))}
        keys = ["quantization_config", "quantization", *whole]
        return {
            path.name: mutation.broken_safetensors(random, model) if random.random() < 0.7 else model,
            "config.json": mutation.dumps(mutation.broken_object(random, whole, keys)),
        }

    return files, path.name


def _adapter_config(folder: Path) -> tuple[Files, str]:
    """An adapter's config alone, counted on the catalogue's shape of its base model."""
    return lambda random: {"adapter_config.json": _broken_adapter_config(random)}, "adapter_config.json"


def _adapter(folder: Path) -> tuple[Files, str]:
    """An adapter's tensors, and in the same folder its config."""
    start = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    valid = stored_bytes({f"{start}A.weight": ("F32", [8, 64]), f"{start}B.weight": ("F32", [64, 8])})
    name = "adapter_model.safetensors"
    return lambda random: {
        "adapter_config.json": _broken_adapter_config(random),
        name: mutation.broken_safetensors(random, valid),
    }, name


def _broken_adapter_config(random: Random) -> bytes:
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["q_proj", "v_proj"],
        "bias": "none",
        "rank_pattern": {"v_proj": 4},
        "modules_to_save": ["lm_head"],
        "use_dora": False,
        "base_model_name_or_path": "meta-llama/Llama-3.2-1B",
    }
    others = [*config, "layers_to_transform", "lora_parameters", "fine_tune_type", "model"]
    broken = mutation.broken_object(random, config, others)
    return mutation.broken_text(random, mutation.dumps(broken))


def _split(folder: Path) -> tuple[Files, str]:
    """A model in two parts, one of them broken or missing."""
    parts = [path.read_bytes() for path in split_gguf(folder, _SMALL)]
    names = [f"tiny-{number:05}-of-00002.gguf" for number in (1, 2)]

    def files(random: Random) -> dict[str, bytes]:
        new = dict(zip(names, parts, strict=True))
        broken = random.choice(names)
        new[broken] = mutation.broken_gguf(random, new[broken])
        return new

    return files, names[0]


def _projector(folder: Path) -> tuple[Files, str]:
    """A projector, alone and as --mmproj adds one to a model's memory."""
    numbers = {
        **{"block_count": 2, "embedding_length": 64, "feed_forward_length": 128, "image_size": 56},
        **{"patch_size": 14, "projection_dim": 64, "attention.head_count": 4},
    }
    texts = {"general.architecture": "clip", "general.type": "mmproj", "clip.projector_type": "mlp"}
    pairs = [pair(key, STRING, text(value)) for key, value in texts.items()]
    pairs += [pair(f"clip.vision.{key}", UINT32, n.to_bytes(4, "little")) for key, n in numbers.items()]
    tensors = [entry("mm.0.weight", [64, 64], 1, 0), entry("v.blk.0.attn_q.weight", [64, 64], 1, 8192)]
    valid = gguf_bytes(pairs, tensors, 2 * 8192)
    return lambda random: {"x.gguf": mutation.broken_gguf(random, valid)}, "x.gguf"


_BLOCKS: tuple[dict[str, Any], ...] = (
    {"quant_method": "gptq", "bits": 4, "group_size": 128},
    {"bits": 4, "group_size": 64, "mode": "mxfp4"},
    {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
)


def _config(folder: Path) -> tuple[Files, str]:
    configs: list[dict[str, Any]] = [dict(row.config) for row in models().values()]
    configs += [row["config"] for row in json_lines("model_configs.jsonl")]
    others = ("quantization_config", "quantization", "text_config", "llm_config", "thinker_config")
    configs += [{**configs[number], others[number % 2]: block} for number, block in enumerate(_BLOCKS)]
    configs += [{"model_type": "llava", "text_config": config} for config in configs[:4]]
    configs += [{"thinker_config": {"text_config": config}} for config in configs[:4]]
    keys = sorted({key for config in configs for key in config} | {"sharing", "layer_types", *others})
    return lambda random: {"config.json": mutation.broken_config(random, configs, keys)}, "config.json"


KINDS: dict[str, Callable[[Path], tuple[Files, str]]] = {
    "gguf": _gguf,
    "safetensors": _safetensors,
    "index": _index,
    "config": _config,
    "packed": _packed,
    "adapter": _adapter,
    "adapter config": _adapter_config,
    "split": _split,
    "unread": _unread,
    "projector": _projector,
}


def in_memory() -> Path | None:
    """Return a folder in memory, None where there is none: some disks are slow to write small files."""
    return _IN_MEMORY if _IN_MEMORY.is_dir() else None


def bound_memory() -> None:
    """Allow the process so many bytes more than it has now; beyond them Python raises MemoryError."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        held = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, resource.RLIM_INFINITY))


def _estimate(path: Path) -> None:
    EstimateRequest(model=str(path), max_memory="1GB").run().to_dict()


def read(reader: Callable[[Path], object], file: Path) -> tuple[bool, list[str]]:
    """Whether a file was refused, and what happened beside a result or one clear SizerError in time."""
    start = process_time()
    told = ""
    wrong = []
    try:
        reader(file)
    except SizerError as error:
        told = str(error)
    except Exception as error:  # whatever else comes out is what is looked for
        wrong.append(f"{type(error).__name__}: {str(error)[:200]}")
    if (seconds := process_time() - start) > SECONDS:
        wrong.append(f"took {seconds:.2f} s")
    if not told.isprintable() or len(told) > MESSAGE_LETTERS:
        wrong.append(f"a message of {len(told)} letters: {told[:200]!r}")
    return told != "", wrong


def fuzz(kind: str, count: int, seed: int) -> dict[str, Any]:
    """Read that many broken files of a kind; the first 20 wrong ones with their bytes in hexadecimal."""
    wrong: list[dict[str, Any]] = []
    refused = 0
    with tempfile.TemporaryDirectory(dir=in_memory()) as name:
        folder = Path(name)
        make, to_read = KINDS[kind](folder)
        bound_memory()
        written: dict[str, bytes] = {}
        for number in range(count):
            files = make(Random(f"{kind} {seed} {number}"))
            for file, content in files.items():
                if written.get(file) != content:
                    (folder / file).write_bytes(content)
            written = files
            was_refused, problems = read(lambda path: inspect_file(path).to_dict(), folder / to_read)
            if kind in ("gguf", "split"):  # the others' architecture is that of config.json
                problems += read(lambda path: read_model(str(path)), folder / to_read)[1]
            if kind in ("gguf", "split", "unread"):
                problems += read(_estimate, folder / to_read)[1]
            if kind == "projector":
                problems += read(projector_memory, folder / to_read)[1]
            refused += was_refused
            if problems and len(wrong) < 20:
                wrong.append({"number": number, "problems": problems, "bytes": files[to_read][:4000].hex()})
    return {"files": count, "refused": refused, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(fuzz(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
