"""Written-out training steps against torch's autograd and AdamW."""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from search.training.decoder import Decoder
from search.training.fused import kernels as loader
from search.training.fused.kernels import CACHE_VARIABLE, NoKernels, kernels
from search.training.fused.step import FusedStep, unsupported_fields
from search.training.learning_rates import initialize
from search.training.train_step import AutogradStep, make_train_step, step_backend, update_rule
from sizer.architecture import Architecture, LayerSharing, MlpKind, NormKind, SharingStrategy

LLAMA = Architecture(
    vocab_size=256,
    num_layers=3,
    hidden_size=96,
    intermediate_size=160,
    num_heads=3,
    num_kv_heads=3,
    head_dim=32,
)
SHAPES = {
    "plain": LLAMA,
    "grouped, own head": replace(LLAMA, num_heads=4, num_kv_heads=2, tie_embeddings=False, head_dim=24),
    "immediate": replace(LLAMA, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2)),
    "repeat-all": replace(LLAMA, sharing=LayerSharing(strategy=SharingStrategy.REPEAT_ALL, repeat=3)),
    "reverse": replace(LLAMA, sharing=LayerSharing(strategy=SharingStrategy.REVERSE, repeat=2)),
    "middle": replace(
        LLAMA, num_layers=4, sharing=LayerSharing(strategy=SharingStrategy.MIDDLE, repeat=2, ends=1)
    ),
    "FFN by layer": replace(LLAMA, num_layers=3, layer_intermediate_sizes=(96, 160, 128)),
    "odd sizes": replace(
        LLAMA, vocab_size=301, hidden_size=70, intermediate_size=93, num_heads=5, num_kv_heads=1, head_dim=14
    ),
}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    try:
        kernels(torch.float32)
    except NoKernels as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no kernels: {error}")


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def _model(architecture: Architecture, seed: int = 0) -> Decoder:
    model = Decoder(architecture)
    initialize(model, architecture, torch.Generator().manual_seed(seed))
    return model


def _windows(architecture: Architecture, seed: int = 0, *, seq: int = 21, batch: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(architecture.vocab_size, (batch, seq + 1), generator=generator)


def _fused(model: Decoder, dtype: torch.dtype = torch.float32, *, seq: int = 21, batch: int = 4) -> FusedStep:
    rule = update_rule(model.architecture, weight_decay=0.1, clip=1.0)
    return FusedStep(model, batch=batch, seq=seq, dtype=dtype, rule=rule)


def _gradients(fused: FusedStep, windows: Tensor) -> dict[str, Tensor]:
    """Gradient of the mean loss by name, float32, without a step."""
    fused._run(windows, 1)
    found = fused._real_grads | fused._float_grads
    return {name: gradient.to(torch.float32, copy=True) for name, gradient in found.items()}


def _worst(model: Decoder, gradients: dict[str, Tensor]) -> float:
    """Largest relative distance of a gradient from autograd's."""
    return max(
        float((gradients[name] - p.grad).norm() / p.grad.norm())
        for name, p in model.named_parameters()
        if p.grad is not None
    )


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", SHAPES)
def test_loss_and_gradients_are_autograd_s(name: str) -> None:
    architecture = SHAPES[name]
    model, windows = _model(architecture), _windows(architecture)
    loss = model.loss(windows).mean()
    torch.autograd.backward(loss)
    fused = _fused(model)
    gradients = _gradients(fused, windows)
    assert set(gradients) == {n for n, _ in model.named_parameters()}
    assert _worst(model, gradients) < 5e-6
    assert fused.pop_loss() == pytest.approx(loss.item(), abs=2e-6)
    assert fused.pop_loss() == 0.0


@pytest.mark.parametrize("name", ["plain", "grouped, own head", "reverse"])
def test_bfloat16_gradients_are_as_near_as_autograd_s_own(name: str) -> None:
    architecture = SHAPES[name]
    exact, rounded = _model(architecture), _model(architecture)
    windows = _windows(architecture)
    torch.autograd.backward(exact.loss(windows).mean())
    rounded.compute_dtype = torch.bfloat16
    torch.autograd.backward(rounded.loss(windows).mean())
    autograd = _worst(exact, {n: p.grad for n, p in rounded.named_parameters() if p.grad is not None})
    assert _worst(exact, _gradients(_fused(_model(architecture), torch.bfloat16), windows)) < 1.2 * autograd


@pytest.mark.parametrize("name", ["plain", "immediate", "odd sizes"])
def test_steps_are_those_of_torch_s_adamw(name: str) -> None:
    architecture = SHAPES[name]
    rule = update_rule(architecture, weight_decay=0.1, clip=1.0)
    one, other = _model(architecture), _model(architecture)
    eager = AutogradStep(one, dtype=torch.float32, rule=rule)
    fused = _fused(other)
    for number in range(1, 6):
        windows = _windows(architecture, number)
        eager.step(windows, 3e-3 / number, number)
        fused.step(windows, 3e-3 / number, number)
    assert fused.pop_loss() == pytest.approx(eager.pop_loss(), rel=1e-5)
    start = dict(_model(architecture).named_parameters())
    ours = dict(other.named_parameters())
    for tensor, parameter in one.named_parameters():
        moved = (parameter - start[tensor]).norm()
        assert (ours[tensor] - parameter).norm() < 2e-3 * moved, tensor
        for mine, theirs in zip(fused.moments[tensor], eager.moments[tensor], strict=True):
            assert (mine - theirs).norm() < 2e-3 * theirs.norm(), tensor


def test_gradients_are_clipped_as_torch_does() -> None:
    rule = replace(update_rule(LLAMA, weight_decay=0.0, clip=1.0), clip=1e-3)
    one, other = _model(LLAMA), _model(LLAMA)
    eager = AutogradStep(one, dtype=torch.float32, rule=rule)
    fused = FusedStep(other, batch=4, seq=21, dtype=torch.float32, rule=rule)
    for train_step in (eager, fused):
        train_step.step(_windows(LLAMA), 1e-3, 1)
    name = "model.layers.1.mlp.up_proj.weight"
    assert torch.allclose(fused.moments[name][0], eager.moments[name][0], rtol=1e-3, atol=1e-10)
    norm = math.sqrt(sum(float((m / 0.1).square().sum()) for m, _ in fused.moments.values()))
    assert norm == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.usefixtures("threads")
def test_the_same_steps_give_the_same_weights() -> None:
    results = []
    for _ in range(2):
        model = _model(LLAMA)
        fused = _fused(model, torch.bfloat16)
        for number in range(1, 4):
            fused.step(_windows(LLAMA, number), 1e-3, number)
        results.append({n: p.clone() for n, p in model.named_parameters()})
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_loaded_weights_are_used_after_refresh() -> None:
    model, other = _model(LLAMA), _model(LLAMA, seed=5)
    fused, windows = _fused(model), _windows(LLAMA)
    before = _gradients(fused, windows)
    model.load_state_dict(other.state_dict())
    fused.sync_weights()
    after = _gradients(fused, windows)
    torch.autograd.backward(other.loss(windows).mean())
    assert _worst(other, after) < 5e-6
    assert not torch.allclose(before["model.norm.weight"], after["model.norm.weight"])


def test_a_loss_that_is_not_a_number_is_seen() -> None:
    model = _model(LLAMA)
    fused = _fused(model)
    with torch.no_grad():
        dict(model.named_parameters())["model.layers.0.mlp.down_proj.weight"][0, 0] = math.nan
    fused.sync_weights()
    fused.step(_windows(LLAMA), 1e-3, 1)
    assert math.isnan(fused.pop_loss())


def test_what_is_not_covered_is_left_to_autograd() -> None:
    for other, field in (
        (replace(LLAMA, mlp=MlpKind.GELU), "mlp gelu"),
        (replace(LLAMA, norm=NormKind.LAYERNORM), "norm layernorm"),
        (replace(LLAMA, qkv_bias=True), "qkv_bias"),
        (replace(LLAMA, qk_norm=True), "qk_norm"),
    ):
        assert unsupported_fields(other) == (field,)
        assert step_backend(torch.float32, other) == ("eager", f"there are no kernels for {field}")
        rule = update_rule(other, weight_decay=0.1, clip=1.0)
        made = make_train_step(Decoder(other), batch=2, seq=8, dtype=torch.float32, rule=rule)
        assert isinstance(made, AutogradStep)
    assert not any(unsupported_fields(shape) for shape in SHAPES.values())


@pytest.mark.parametrize("x", [-200.0, -87.3, -20.0, -1.0, -1e-6, 0.0, 0.3, 1.0, 30.0])
def test_the_exponential_by_the_softmax_of_two(x: float) -> None:
    scores = torch.tensor([[9.0, 9.0], [x, 0.0]])
    kernels(torch.float32).causal_softmax(2, 2, scores.data_ptr())
    expected = torch.softmax(torch.tensor([x, 0.0], dtype=torch.float64), -1)
    assert scores[0].tolist() == [1.0, 0.0]
    assert torch.allclose(scores[1].double(), expected, rtol=5e-7, atol=2e-38)


def _reason(**variables: str) -> str:
    """The reason why a new process has no kernels, or "there"."""
    code = (
        "import torch\nfrom search.training.fused.kernels import kernels, NoKernels\n"
        "try:\n    kernels(torch.float32)\n    print('there')\nexcept NoKernels as error:\n    print(error)"
    )
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_compiler_that_fails_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(dtype: torch.dtype) -> ctypes.CDLL:
        tried.append(dtype)
        raise NoKernels("out of order")

    monkeypatch.setattr(loader, "_load", fail)
    loader._attempted.cache_clear()
    try:
        for _ in range(2):
            with pytest.raises(NoKernels, match="out of order"):
                kernels(torch.float32)
    finally:
        loader._attempted.cache_clear()
    assert len(tried) == 1


def test_without_a_compiler_or_a_folder_there_is_a_reason(tmp_path: Path) -> None:
    assert _reason(**{CACHE_VARIABLE: "off"}) == "switched off by SIZER_KERNELS=off"
    assert "no C compiler" in _reason(CC="no-such-compiler")
    (tmp_path / "file").write_text("")
    assert "cannot be kept or loaded" in _reason(**{CACHE_VARIABLE: str(tmp_path / "file" / "below")})
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'error: out of order' >&2\nexit 1\n")
    broken.chmod(0o755)
    assert "out of order" in _reason(CC=str(broken), **{CACHE_VARIABLE: str(tmp_path)})


def test_passes_are_compiled_once(tmp_path: Path) -> None:
    assert _reason(**{CACHE_VARIABLE: str(tmp_path)}) == "there"
    (library,) = tmp_path.iterdir()
    stamp = library.stat().st_mtime_ns
    assert _reason(**{CACHE_VARIABLE: str(tmp_path)}) == "there"
    assert library.stat().st_mtime_ns == stamp


def test_the_working_copies_follow_the_weights() -> None:
    model = _model(LLAMA)
    fused = _fused(model, torch.bfloat16)
    fused.step(_windows(LLAMA), 1e-2, 1)
    copies = fused._copies
    assert len(copies) == 2 + 7 * LLAMA.num_layers - 1
    for name, parameter in model.named_parameters():
        if name in copies:
            assert torch.equal(copies[name], parameter.detach().bfloat16()), name


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux links")
def test_a_compiler_of_another_openmp_does_without_its_threads(tmp_path: Path) -> None:
    (runtime,) = loader._openmp()
    assert Path(runtime).name.startswith(("libgomp", "libiomp", "libomp"))
    other = tmp_path / "cc"
    other.write_text(
        '#!/bin/sh\ncase "$*" in *-fopenmp*) for last; do :; done\n'
        'echo "void fork_call(void); void run(void) { fork_call(); }" | cc -fPIC -x c -c - -o "$last";;\n'
        '*) exec cc "$@";; esac\n'
    )
    other.chmod(0o755)
    assert _reason(CC=str(other), **{CACHE_VARIABLE: str(tmp_path / "kept")}) == "there"
