"""transformers.js: its own dtypes and what they store, names that are not among them, downloads."""

from __future__ import annotations

import json

import pytest

from sizer.devices.catalogue import device
from sizer.download import FirstDownload
from sizer.errors import UnknownName
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model
from sizer.request import EstimateRequest
from sizer.runtimes import runtime

# transformers.js 4.3, src/utils/dtypes.js: DATA_TYPES, without those of 1 and 2 bits that no converter makes
DTYPES = {"fp32", "fp16", "q8", "int8", "uint8", "q4", "bnb4", "q4f16"}
SMOL = model("SmolLM2-135M").architecture
MATRICES = 134_515_008 - 61 * 576  # all but norms, the table once
TABLE = 49_152 * 576
NORMS = 4 * 61 * 576


def _tensor_bytes(format: str) -> int:
    return estimate(architecture=SMOL, format=format, runtime="transformers.js").file.tensor_bytes


@pytest.mark.parametrize("name", ["transformers.js", "transformers.js-webgpu"])
def test_formats_are_its_dtypes(name: str) -> None:
    assert set(runtime(name).formats) == DTYPES
    with pytest.raises(UnknownName) as error:
        runtime(name).format_name("q9")
    named = set(str(error.value).split("known: ")[1].rstrip(")").split(", "))
    assert named == DTYPES


def test_customary_formats_and_aliases() -> None:
    js, gpu = runtime("transformers.js"), runtime("transformers.js-webgpu")
    assert [js.format_for_bits(b) for b in (4, 8, 16, 32)] == ["q4", "q8", "fp16", "fp32"]
    # dtype "auto" is q8 on WebAssembly and fp32 elsewhere (DEFAULT_DEVICE_DTYPE_MAPPING)
    assert (js.format_name("auto"), gpu.format_name("auto")) == ("q8", "fp32")
    assert js.format_name("Quantized") == "q8"


def test_8_bit_files_hold_a_byte_a_weight_and_a_scale_a_tensor() -> None:
    # a tied table twice, for the lookup and the head; 210 matrices and those two with scale and zero point
    expected = MATRICES + TABLE + (210 + 2) * 5 + NORMS
    assert _tensor_bytes("q8") == _tensor_bytes("int8") == _tensor_bytes("uint8") == expected


def test_bnb4_files_hold_blocks_of_64_and_a_float_table() -> None:
    assert _tensor_bytes("bnb4") == MATRICES // 2 + 4 * (MATRICES // 64) + 4 * TABLE + NORMS


def test_a_format_of_older_studies_is_still_read() -> None:
    engine = runtime("transformers.js")
    assert engine.format_name("q8f16") == "q8f16"
    assert "q8f16" not in engine.formats
    assert estimate(architecture=SMOL, format="q8f16", runtime="transformers.js").file.total > 0


def test_a_download_has_weights_tokenizer_and_engine() -> None:
    found = estimate(architecture=SMOL, format="q8", runtime="transformers.js").first_download
    assert found is not None
    assert found.weights == _tensor_bytes("q8") + 75_000 * 30
    assert found.tokenizer == round(1.2 * 1_769_771)
    assert found.runtime == 26_781_914 + 456_110
    assert found.num_bytes == sum(found)


def test_seconds_worked_by_hand() -> None:
    hundred_mb = FirstDownload(90_000_000, 2_000_000, 8_000_000)
    assert hundred_mb.to_dict() == {
        "bytes": 100_000_000,
        "weights": 90_000_000,
        "tokenizer": 2_000_000,
        "runtime": 8_000_000,
        "seconds_10mbit": 80.0,
        "seconds_50mbit": 16.0,
    }


def _sized(name: str, on: str | None = None) -> Estimate:
    engine = runtime(name)
    return estimate(
        architecture=SMOL,
        format=engine.format_for_bits(4),
        runtime=name,
        device=device(on) if on else None,
    )


def test_downloads_of_every_engine() -> None:
    apps = ("transformers.js", "transformers.js-webgpu", "web-llm", "executorch", "litert-lm", "llama.cpp")
    for name in apps:
        document = json.loads(json.dumps(_sized(name).to_dict()))["download"]
        assert document["bytes"] == document["weights"] + document["tokenizer"] + document["runtime"], name
        assert document["seconds_10mbit"] == pytest.approx(5 * document["seconds_50mbit"])
    for name in ("mlx", "transformers"):
        assert _sized(name).to_dict()["download"] is None


def test_a_tokenizer_inside_the_file_is_counted_once() -> None:
    sized = _sized("llama.cpp")
    found = sized.first_download
    assert found is not None
    assert found.weights + found.tokenizer == sized.file.total
    # in a browser llama.cpp is wllama's WebAssembly
    in_browser = _sized("llama.cpp", "browser-wasm32").first_download
    assert in_browser is not None
    assert in_browser.runtime == 10_244_628 != found.runtime


def test_a_model_that_the_runtime_cannot_hold_has_no_download() -> None:
    request = EstimateRequest(model="opt-1.3b", runtime="executorch", bits=4)
    assert request.run().to_dict()["download"] is None
