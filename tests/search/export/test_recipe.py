"""A plan is a folder that transformers loads, of the exact weights, and whose script learns."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from search.export.recipe import write_recipe
from sizer.architecture import Architecture, SharingStrategy
from sizer.errors import InvalidFile, InvalidQuantity
from sizer.tensors import count_parameters, tensor_specs
from tests.search.export.conftest import tiny
from tests.search_runs import TEXT

DATA = Path(__file__).resolve().parents[2] / "data"
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")


def train(plan: Path, tokens: Path, out: Path) -> list[str]:
    """Return the arguments of 20 steps of a plan's script."""
    options = ("--steps", "20", "--batch-tokens", "256", "--seq-len", "32", "--rate", "0.01")
    return [*(str(plan / "train.py"), "--data", str(tokens), "--out", str(out), "--device", "cpu"), *options]


def in_a_process(arguments: list[str]) -> str:
    """Run the script as its reader does."""
    return subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def in_this_process(arguments: list[str]) -> str:
    """Run the script where torch and transformers are imported already."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", arguments)
        runpy.run_path(arguments[0], run_name="__main__")
    return printed.getvalue()


@pytest.mark.parametrize(
    ("architecture", "run"),
    [
        (tiny(), in_a_process),
        (tiny(sharing=SharingStrategy.REVERSE, tied=False), in_this_process),
        (tiny(sharing=SharingStrategy.MIDDLE), in_this_process),
    ],
)
def test_twenty_steps_lower_the_loss(
    tmp_path: Path, architecture: Architecture, run: Callable[[list[str]], str]
) -> None:
    recipe = write_recipe(architecture, tmp_path / "plan", tokens=1_000_000)
    assert recipe.parameters == count_parameters(tensor_specs(architecture)).total
    tokens = tmp_path / "tokens.npy"
    numpy.save(tokens, numpy.frombuffer(TEXT.encode(), numpy.uint8).astype(numpy.uint16))
    printed = run(train(recipe.path, tokens, tmp_path / "run"))
    losses = [float(line.split("loss ")[1].split()[0]) for line in printed.splitlines() if "loss" in line]
    assert losses[-1] < losses[0] - 0.5
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    assert loaded.config.num_hidden_layers == architecture.executed_layers


def test_numbers_of_the_plan_by_hand(tmp_path: Path) -> None:
    recipe = write_recipe(tiny(), tmp_path / "plan", tokens=10**12)
    plan = json.loads((recipe.path / "plan.json").read_text(encoding="utf-8"))
    assert plan["steps"] == -(-(10**12) // 524_288) == 1_907_349
    # 6 FLOPs a weight of the matrices (the tied head is one), 12 x layers x width x 2,048 for attention
    matrices = 256 * 64 + 2 * (64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 128)
    a100 = recipe.lengths[0].costs[0]
    assert (a100.card, a100.flops) == ("A100", 1e12 * (6 * matrices + 12 * 2 * 64 * 2048))
    assert a100.hours == pytest.approx(a100.flops / (312e12 * 0.445) / 3600)
    assert [length.quality.tokens for length in recipe.lengths[:2]] == [10**12, 20 * recipe.parameters]
    assert plan["tensors"]["model.embed_tokens.weight"]["rate"] == pytest.approx(4 * (160 / 64) ** 0.5)
    assert "plan.json" in (recipe.path / "plan.md").read_text(encoding="utf-8")
    assert "n_query_groups: 1" in (recipe.path / "litgpt.yaml").read_text(encoding="utf-8")


def test_litgpt_knows_every_key(tmp_path: Path) -> None:
    """All names are of `litgpt pretrain` 0.5.13, and those it requires are there.

    benchmarks/oracles/litgpt_config.py wrote the names.
    """
    yaml = pytest.importorskip("yaml")
    known = json.loads((DATA / "litgpt_keys.json").read_text(encoding="utf-8"))
    recipe = write_recipe(tiny(), tmp_path / "plan", tokens=1_000_000)
    config = yaml.safe_load((recipe.path / "litgpt.yaml").read_text(encoding="utf-8"))
    assert set(config) <= set(known["pretrain"])
    assert set(known["required"]) <= set(config)
    for name in ("model_config", "train"):
        assert set(config[name]) <= set(known[name])
    numbers = {**config["model_config"], **config["train"], **config["optimizer"]["init_args"]}
    assert {k: v for k, v in numbers.items() if isinstance(v, str)} == {
        "name": "2x64",
        "norm_class_name": "RMSNorm",
        "mlp_class_name": "LLaMAMLP",
    }  # 1e-6 without a point would be a text
    assert numbers["norm_eps"] == 1e-6
    assert config["train"]["global_batch_size"] >= config["train"]["micro_batch_size"] >= 1


def test_twenty_tokens_a_weight_by_default(tmp_path: Path) -> None:
    recipe = write_recipe(tiny(), tmp_path / "plan")
    assert recipe.tokens == 20 * recipe.parameters


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidQuantity, match="tokens: must be from 1"):
        write_recipe(tiny(), tmp_path / "plan", tokens=0)
    (tmp_path / "mine").mkdir()
    with pytest.raises(InvalidFile, match="exists and is not a plan of ours"):
        write_recipe(tiny(), tmp_path / "mine")
