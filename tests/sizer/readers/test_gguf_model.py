"""GGUF files as models: exact bytes, own types, and caches by the keys of architectures that are not read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from sizer.errors import SizerError
from sizer.file_model import CachedLayer, FileModel, cache_bytes
from sizer.readers.gguf_model import gguf_model, read_gguf_model
from sizer.readers.gguf_split import read_gguf_set
from sizer.readers.model_bytes import read_upload
from sizer.request import EstimateRequest
from sizer.workload import Workload
from tests.sizer.readers.handmade import UNTIED, write_gguf

HIDDEN, VOCABULARY, LAYERS = 256, 4096, 4
Keys = dict[str, Any]


def write(path: Path, architecture: str, keys: Keys, **more: Any) -> Path:
    """Write a model of Q4_0, Q8_0 and F32 tensors with the gguf package; its data are zeros."""
    writer = gguf.GGUFWriter(path, architecture)
    pairs: Keys = {"block_count": LAYERS, "embedding_length": HIDDEN, **keys}
    for key, value in pairs.items():
        name = f"{architecture}.{key}"
        if isinstance(value, list):
            writer.add_array(name, value)
        else:
            writer.add_uint32(name, value)
    for key, value in more.items():
        writer.add_uint32(key.replace("__", "."), value)
    tensors = {"token_embd.weight": ("Q8_0", (VOCABULARY, HIDDEN)), "output_norm.weight": ("F32", (HIDDEN,))}
    for layer in range(LAYERS):
        tensors[f"blk.{layer}.attn_output.weight"] = ("Q4_0", (HIDDEN, HIDDEN))
        tensors[f"blk.{layer}.ffn_up_exps.weight"] = ("Q4_0", (8, 128, HIDDEN))
    for name, (kind, shape) in tensors.items():
        quantized = gguf.GGMLQuantizationType[kind]
        stored = gguf.quant_shape_to_byte_shape(shape, quantized) if kind != "F32" else shape
        data = np.zeros(stored, dtype=np.uint8 if kind != "F32" else np.float32)
        writer.add_tensor(name, data, raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


ATTENTION = {"attention.head_count": 8, "attention.head_count_kv": 2, "attention.key_length": 64}
MAMBA = {"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 16, "ssm.group_count": 1}
# one layer's past inputs, 3 x (512 + 2 x 16), and states, 512 x 16, in floats
MAMBA_BYTES = 4 * (3 * (512 + 2 * 16) + 512 * 16)


def facts(tmp_path: Path, architecture: str, keys: Keys) -> FileModel:
    """Read a file of an architecture that has no reader."""
    found = read_gguf_model(write(tmp_path / "model.gguf", architecture, keys))
    assert found.architecture is None
    assert found.facts is not None
    return found.facts


def test_bytes_and_counts_are_the_files(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "wonder", ATTENTION, general__file_type=2)
    document = EstimateRequest(model=str(path)).run().to_dict()
    q8, q4 = VOCABULARY * HIDDEN * 34 // 32, LAYERS * (HIDDEN * HIDDEN + 8 * 128 * HIDDEN) * 18 // 32
    assert document["weights"]["bytes_by_type"] == {"Q8_0": q8, "Q4_0": q4, "F32": 4 * HIDDEN}
    assert document["weights"]["tensor_bytes"] == q8 + q4 + 4 * HIDDEN
    assert document["weights"]["file_bytes"] == path.stat().st_size
    assert document["weights"]["format"] == "Q4_0"
    parameters = document["parameters"]
    assert parameters["embedding"] == VOCABULARY * HIDDEN
    assert parameters["attention"] == LAYERS * HIDDEN * HIDDEN
    assert parameters["mlp"] == LAYERS * 8 * 128 * HIDDEN
    assert parameters["norm"] == HIDDEN
    assert document["architecture"]["model_type"] == "wonder"
    assert document["architecture"]["num_heads"] == 8


def test_the_cache_is_that_of_the_keys_and_the_compute_buffer_has_a_range(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "wonder", ATTENTION)
    line = {"model": str(path), "context": 1000, "max_memory": "1GB"}
    memory = EstimateRequest.from_json(line).run().to_dict()["memory"]
    assert memory["kv_cache_bytes"] == LAYERS * 1024 * 2 * (2 * 64) * 2  # 1000 cells, padded to 256
    assert memory["compute_bytes"] is None
    assert 512 * VOCABULARY * 4 <= memory["compute_bytes_low"] < memory["compute_bytes_high"]
    spread = memory["compute_bytes_high"] - memory["compute_bytes_low"]
    assert memory["total_bytes_high"] - memory["total_bytes_low"] == spread
    assert memory["total_bytes_low"] < memory["total_bytes"] < memory["total_bytes_high"]
    assert memory["fits"] is True
    assert memory["max_context"] > 1000
    at_edge = EstimateRequest.from_json(line | {"max_memory": memory["total_bytes"]}).run().estimate
    assert at_edge.memory.fits is None


@pytest.mark.parametrize(
    ("architecture", "keys", "layers", "state_bytes"),
    [
        ("wonder", ATTENTION, [CachedLayer(128, 128)] * 4, 0),
        ("wonder", {**ATTENTION, "attention.value_length": 32}, [CachedLayer(128, 64)] * 4, 0),
        ("wonder", {**ATTENTION, "attention.head_count_kv": [2, 0, 4, 0]}, [(128, 128), (256, 256)], 0),
        # gpt-oss has windows in every other layer, which its files do not say; a stated pattern counts first
        ("gpt-oss", {**ATTENTION, "attention.sliding_window": 99}, [(128, 128, 99), (128, 128)] * 2, 0),
        (
            "wonder",
            {
                **ATTENTION,
                "attention.sliding_window": 512,
                "attention.sliding_window_pattern": [True, True, False, True],
            },
            [(128, 128, 512), (128, 128, 512), (128, 128, None), (128, 128, 512)],
            0,
        ),
        ("wonder", {**ATTENTION, "attention.shared_kv_layers": 2}, [CachedLayer(128, 128)] * 2, 0),
        # Mamba alone; beside attention in the layers without heads; beside attention in every layer
        ("wonder", {**MAMBA, "attention.head_count": 0}, [], 4 * MAMBA_BYTES),
        (
            "wonder",
            {**MAMBA, **ATTENTION, "attention.head_count_kv": [0, 0, 2, 0]},
            [CachedLayer(128, 128)],
            3 * MAMBA_BYTES,
        ),
        ("wonder", {**MAMBA, **ATTENTION}, [CachedLayer(128, 128)] * 4, 4 * MAMBA_BYTES),
        # gated delta nets: attention in the last of each two layers
        (
            "wonder",
            {**MAMBA, **ATTENTION, "full_attention_interval": 2},
            [CachedLayer(128, 128)] * 2,
            2 * MAMBA_BYTES,
        ),
    ],
)  # fmt: skip
def test_which_layers_keep_what(
    tmp_path: Path, architecture: str, keys: Keys, layers: list[Any], state_bytes: int
) -> None:
    found = facts(tmp_path, architecture, keys)
    assert found.layers == tuple(CachedLayer(*layer) for layer in layers)
    assert found.state_bytes == state_bytes


def test_a_window_that_lies_nowhere_known_is_the_whole_context_and_said(tmp_path: Path) -> None:
    found = facts(tmp_path, "wonder", {**ATTENTION, "attention.sliding_window": 512})
    assert found.layers == (CachedLayer(128, 128),) * 4
    assert "window of 512 positions" in found.window_note


def test_cells_of_a_window_worked_by_hand() -> None:
    # window and micro-batch, 128 + 512 padded to 256: 768; the other layer keeps 4,096
    layers = (CachedLayer(64, 64, 128), CachedLayer(64, 64))
    workload = Workload(context_tokens=4096)
    assert cache_bytes(layers, workload) == (768 + 4096) * 2 * 64 * 2


def test_without_keys_for_the_cache_the_weights_are_still_known(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "wonder", {})
    document = EstimateRequest(model=str(path), device="raspberry-pi-5").run().to_dict()
    assert document["weights"]["file_bytes"] == path.stat().st_size
    assert document["memory"] is None
    assert set(document["unsupported"]) == {"memory", "latency", "energy"}
    assert "head_count_kv" in document["unsupported"]["memory"]


def test_a_format_that_the_file_is_not_in_and_a_runtime_that_needs_layers(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "wonder", ATTENTION, general__file_type=2)
    other = EstimateRequest(model=str(path), format="Q8_0").run().to_dict()
    assert other["weights"] is None
    assert other["unsupported"]["weights"].endswith("accepted: Q4_0")
    mlx = EstimateRequest(model=str(path), runtime="mlx").run().to_dict()
    assert mlx["parameters"]["total"] == other["parameters"]["total"]
    assert mlx["memory"] is None
    with pytest.raises(SizerError, match="num_layers: needs the layers of a model"):
        EstimateRequest(model=str(path), num_layers=3).run()
    with pytest.raises(SizerError, match="gpu_layers: needs the layers of a model"):
        EstimateRequest(model=str(path), gpu_layers=3).run()
    drafted = EstimateRequest(model=str(path), draft="SmolLM2-135M", max_memory="1GB").run().estimate
    assert drafted.memory.draft_bytes > 0
    longest = drafted.max_context
    alone = EstimateRequest(model=str(path), max_memory="1GB", context=512).run().estimate.max_context
    assert longest is not None
    assert alone is not None
    assert 0 < longest.tokens < alone.tokens


def test_a_projector_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(SizerError, match="is a projector, which --mmproj adds"):
        EstimateRequest(model=str(write(tmp_path / "mmproj.gguf", "clip", {}))).run()


def test_the_command_prints_what_is_known(tmp_path: Path, sizer: Any) -> None:
    path = write(tmp_path / "model.gguf", "wonder", ATTENTION, general__file_type=2)
    ran = sizer("estimate", str(path), "--html", str(tmp_path / "page.html"))
    assert ran.code == 0
    assert "compute buffer                           -  not known: 8 MiB to " in ran.out
    assert "wonder: its layers are not read" in ran.out
    assert "not known" in (tmp_path / "page.html").read_text(encoding="utf-8")
    lines = tmp_path / "lines.jsonl"
    lines.write_text(json.dumps({"model": str(path)}) + "\n", encoding="utf-8")
    assert sizer("estimate", "--batch", str(lines)).json["weights"]["file_bytes"] == path.stat().st_size


def test_rotary_factors_in_a_file_are_noted_and_no_parameters(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", UNTIED, format="Q8_0")
    header = read_gguf_set(tmp_path / "model.gguf")
    assert gguf_model(header).note == ""
    factors = replace(header.tensors[0], name="rope_freqs.weight", type="F32", shape=(32,), num_bytes=128)
    found = gguf_model(replace(header, tensors=(*header.tensors, factors)))
    assert found.architecture == gguf_model(header).architecture
    assert found.note.startswith(
        "32 values of rope_freqs.weight (rotary factors) are in the file's bytes, not"
    )


@pytest.mark.parametrize("mixed", ["Q4_K_M", "Q8_0"])
def test_a_file_of_a_known_family_keeps_its_own_types(tmp_path: Path, mixed: str) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, UNTIED, format=mixed)
    asked = EstimateRequest(model=str(path), max_memory="1GB")
    own = asked.run().estimate
    assert own.file.total == path.stat().st_size
    assert own.weights is not None
    assert len(own.weights.own) == len(gguf.GGUFReader(path).tensors)
    assert own.memory.weights_bytes == sum(int(t.n_bytes) for t in gguf.GGUFReader(path).tensors)
    longest = own.max_context
    assert longest is not None
    assert longest == asked._replace(format=mixed).run().estimate.max_context
    other = EstimateRequest(model=str(path), bits=16).run().estimate
    assert other.format == "F16"
    assert other.file.tensor_bytes != own.file.tensor_bytes


def test_advice_is_left_out_where_there_are_no_layers_to_change(tmp_path: Path, sizer: Any) -> None:
    path = write(tmp_path / "model.gguf", "wonder", ATTENTION)
    assert sizer("estimate", str(path), "--advice").code == 0
    assert "sensitivities" not in sizer("estimate", str(path), "--advice", "--json").json


def test_advice_on_a_file_compares_like_with_like(tmp_path: Path) -> None:
    from sizer.advice import sensitivities

    path = tmp_path / "model.gguf"
    write_gguf(path, UNTIED, format="Q8_0")
    own = EstimateRequest(model=str(path)).run().estimate
    named = EstimateRequest(model=str(path), format="Q8_0").run().estimate
    assert sensitivities(own) == sensitivities(named)


def test_an_upload_that_is_not_read_says_what_it_holds(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "wonder", ATTENTION)
    count = VOCABULARY * HIDDEN + HIDDEN + LAYERS * (HIDDEN * HIDDEN + 8 * 128 * HIDDEN)
    with path.open("rb") as stream, pytest.raises(SizerError, match=f"it has {count:,} parameters in "):
        read_upload(stream, "model.gguf")


def test_a_file_without_tensors_has_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "none.gguf"
    writer = gguf.GGUFWriter(path, "wonder")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    sized = EstimateRequest(model=str(path)).run().to_dict()
    assert sized["parameters"]["total"] == 0
    assert sized["weights"]["tensor_bytes"] == 0
