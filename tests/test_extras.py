"""The calculator alone: its commands need no package of an extra, and others name the one they lack."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
# Of an installation without extras, its packages included (pip itself aside).
MOST_BYTES = 60_000_000
LACKING = ("filelock", "numpy", "optuna", "pandas", "plotly", "scipy", "sqlalchemy", "streamlit", "torch")


def _run(folder: Path, *asked: str) -> subprocess.CompletedProcess[str]:
    """Run a command as if none of these packages were installed, in an empty folder."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({LACKING}))\n"  # None: cannot be imported
        f"import cli; sys.exit(cli.main({list(asked)}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment, timeout=60
    )


@pytest.mark.parametrize(
    "asked",
    [
        "estimate --params 125M --bits 4 --device raspberry-pi-5",
        "estimate SmolLM2-135M --json",
        "compare SmolLM2-135M Qwen3-0.6B --device raspberry-pi-5",
        "solve --device raspberry-pi-5 --max-size 60MB",
        "devices",
        "models SmolLM2-135M",
        "formats Q4_K_M",
        "--help",
    ],
)
def test_the_calculator_needs_no_extra(asked: str, tmp_path: Path) -> None:
    done = _run(tmp_path, *asked.split())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("asked", "extra"),
    [
        ("search run --trials 1", "search"),
        ("search status some-study", "search"),
        ("solve --device raspberry-pi-5 --max-size 60MB --rank law", "search"),
        ("estimate SmolLM2-135M --tokens 1T", "search"),
        ("estimate SmolLM2-135M --html page.html", "search"),
        ("app", "app"),
    ],
)
def test_what_needs_an_extra_names_it_in_one_line(asked: str, extra: str, tmp_path: Path) -> None:
    done = _run(tmp_path, *asked.split())
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert f"the extra '{extra}'" in done.stderr


def test_the_calculator_alone_installs_no_package_of_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {text.partition(">")[0].partition("=")[0] for text in project["dependencies"]}
    assert names == {"jinja2", "rich", "typer"}
    assert set(project["optional-dependencies"]) >= {"search", "app", "all"}


def test_shells_complete_the_commands(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "_SIZER_COMPLETE": "complete_bash"}
    environment |= {"COMP_WORDS": "sizer est", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=60,
    )
    assert done.stdout.split() == ["estimate"], done.stderr


def test_modules_of_another_project_are_not_taken_for_ours(tmp_path: Path) -> None:
    """`python -m` looks in the working directory first."""
    for name in ("search", "reports", "explorer", "commands"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit({name!r})", encoding="utf-8")
    for name in ("cli", "app"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit({name!r})", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "sizer", "search", "presets"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "raspberry-pi-5-tiny" in done.stdout


def needed(installed: Path) -> set[str]:
    """Names of the packages that an installation without extras brings, those that they need included."""
    (own,) = distributions(path=[str(installed)])
    found: set[str] = set()
    asked = list(own.requires or ())
    while asked:
        requirement = Requirement(asked.pop())
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            asked += distribution(name).requires or ()
    return found


def installed_bytes(name: str) -> int:
    """Bytes of a package's files in this environment, compiled modules included."""
    files = (file.locate() for file in distribution(name).files or ())
    return sum(Path(str(file)).stat().st_size for file in files if Path(str(file)).is_file())


@pytest.mark.slow
def test_a_wheel_carries_all_that_the_commands_read(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = tmp_path / "source"
    tracked = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    source.mkdir()
    subprocess.run(["tar", "-x", "-C", str(source)], input=tracked.stdout, check=True, timeout=60)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(installed), str(wheel)], check=True, timeout=120
    )
    own = sum(path.stat().st_size for path in installed.rglob("*") if path.is_file())
    assert own + sum(map(installed_bytes, needed(installed))) <= MOST_BYTES
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    for asked in (
        ["estimate", "--params", "125M", "--device", "raspberry-pi-5", "--html", "page.html"],
        ["solve", "--device", "raspberry-pi-5", "--max-size", "60MB", "--rank", "law"],
        ["search", "run", "--max-size", "1MB", "--trials", "1", "--steps", "5", "--study", "small"],
        ["search", "frontier", "small"],
    ):
        code = (
            f"import sizer, sys, cli; assert {str(installed)!r} in cli.__file__; sys.exit(cli.main({asked}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=empty,
            env=environment,
            timeout=600,
        )
        assert done.returncode == 0, (asked, done.stderr)
