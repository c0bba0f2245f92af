"""ExecuTorch's own export is given the trained weights, and its file scores as the search did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from search.export.executorch import (
    executorch_weights,
    export_executorch,
    promises_path,
    read_promises,
)
from search.export.finalist import load_finalist
from search.export.verify import verify_file
from search.training.decoder import Decoder
from sizer.architecture import SharingStrategy
from sizer.calibration import executorch_bench
from sizer.calibration.executorch_models import export_request
from sizer.errors import InvalidFile, MeasurementError
from sizer.formats import executorch
from sizer.formats.executorch import RECIPES, export_options
from sizer.runtimes import runtime
from tests.search.export.conftest import MakeStudy, tiny

FORMAT = "8da4w-g32-e8"


def test_options_of_every_format_are_those_of_its_description() -> None:
    for name, recipe in RECIPES.items():
        options = export_options(name)
        if name == "fp32":
            assert set(options.values()) == {None}
            continue
        assert recipe.matrix.name.startswith(str(options["qmode"]))
        assert options["group_size"] == getattr(recipe.matrix, "group", None)
        setting = options["embedding_quantize"]
        assert setting is None or f'"{setting}"' in recipe.about


def test_weights_have_executorchs_names_and_pairs() -> None:
    a = tiny(layers=2, tied=True, sharing=SharingStrategy.REVERSE)
    weights = {name: torch.randn(tensor.shape) for name, tensor in Decoder(a).state_dict().items()}
    found = executorch_weights(a, weights)
    assert {name.split(".")[1] for name in found if name.startswith("layers.")} == {"0", "1", "2", "3"}
    assert torch.equal(found["layers.0.attention.wq.weight"], found["layers.3.attention.wq.weight"])
    assert not torch.equal(found["layers.0.attention.wq.weight"], found["layers.1.attention.wq.weight"])
    assert torch.equal(found["output.weight"], weights["model.embed_tokens.weight"])
    assert torch.equal(
        found["layers.1.feed_forward.w2.weight"], weights["model.layers.1.mlp.down_proj.weight"]
    )
    # rows 0 and 16 of a head of 32 are rotated together: ExecuTorch has them in turn
    key = weights["model.layers.0.self_attn.k_proj.weight"]
    assert torch.equal(found["layers.0.attention.wk.weight"][:4], key[[0, 16, 1, 17]])
    assert len(found) == 3 + 4 * 9


def test_only_the_middle_is_stored_for_several_runs() -> None:
    a = tiny(layers=4, sharing=SharingStrategy.MIDDLE)
    weights = {name: torch.randn(tensor.shape) for name, tensor in Decoder(a).state_dict().items()}
    found = executorch_weights(a, weights)
    ups = [found[f"layers.{layer}.feed_forward.w3.weight"] for layer in range(a.executed_layers)]
    same = {(i, j) for i in range(6) for j in range(i) if torch.equal(ups[i], ups[j])}
    assert same == {(3, 1), (4, 2)}  # A B C B C D


def test_the_worker_is_asked_for_every_run_of_a_block(tmp_path: Path) -> None:
    a = tiny(layers=2, sharing=SharingStrategy.REVERSE)
    request = export_request(
        a, FORMAT, tmp_path / "m.pte", context_tokens=64, chunk_tokens=32, norm_eps=1e-6, weights=Path("w")
    )
    assert request["params"]["n_layers"] == 4
    assert (request["params"]["norm_eps"], request["weights"], request["qmode"]) == (1e-6, "w", "8da4w")


def test_without_the_packages_it_is_one_line(sizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executorch_bench, "PACKAGES", ("no-such-package",))
    done = sizer("export", "s", "0", "--to", "executorch")
    assert done.code == 2
    assert "export: ExecuTorch needs the packages" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_file_without_promises_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(b"a file")
    with pytest.raises(InvalidFile, match=r"model\.json.*accepted: a \.pte file that sizer exported"):
        verify_file(path)
    promises_path(path).write_text("[1]", encoding="utf-8")
    with pytest.raises(InvalidFile, match="is no file of an export"):
        verify_file(path)
    promises_path(path).write_text('{"schema": "sizer.executorch-export/1"}', encoding="utf-8")
    with pytest.raises(InvalidFile, match="promises: of .* cannot be read"):
        verify_file(path)


@pytest.mark.slow
def test_a_model_with_shared_blocks_scores_as_searched(
    make_study: MakeStudy, storage: str, tmp_path: Path
) -> None:
    try:
        executorch_bench.require_executorch("export")
    except MeasurementError as error:
        pytest.skip(str(error))
    make_study(tiny(layers=1, sharing=SharingStrategy.IMMEDIATE, tied=False), learning_rate=1.5e-3)
    found = load_finalist("s", 0, storage, format_name=FORMAT, runtime="executorch")
    done = export_executorch(found, tmp_path / "model.pte")
    assert done.file_bytes == done.predicted_bytes == done.path.stat().st_size
    unrolled = found.architecture.unrolled()
    stored = runtime("executorch").store(unrolled, FORMAT)
    each_run = executorch.file_bytes(unrolled, stored, found.context_tokens).total
    assert done.file_bytes < each_run - 20_000  # a block of 41,856 weights that runs twice is stored once
    assert json.loads(promises_path(done.path).read_text())["config"] == read_promises(done.path)["config"]
    rows = {row.quantity: row for row in verify_file(done.path).rows}
    assert {name: rows[name].agrees for name in ("file_bytes", "val_bits_per_byte", "memory_bytes")} == {
        "file_bytes": True,
        "val_bits_per_byte": True,
        "memory_bytes": True,
    }
    assert rows["val_bits_per_byte"].measured == pytest.approx(found.bits_per_byte, abs=0.05)
    done.path.write_bytes(done.path.read_bytes()[:1000])
    with pytest.raises(MeasurementError, match=r"ExecuTorch failed on model\.pte"):
        verify_file(done.path)
