"""The rooms: imports go one way, heavy libraries stay where they belong, starting loads none of them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Room: the rooms it may import from. cli, app, explorer -> reports -> search -> sizer; never back.
ALLOWED = {
    "sizer": {"sizer"},
    "search": {"search", "sizer"},
    "reports": {"reports", "search", "sizer"},
    "explorer": {"explorer", "reports", "search", "sizer"},
    "commands": {"commands", "reports", "search", "sizer"},
    "cli": {"commands", "sizer"},
    "app": {"explorer", "sizer"},
}

# Library: the only files that may import it, as path prefixes.
HOMES = {
    "torch": (
        "search/proxy/model.py",
        "search/proxy/train.py",
        "search/proxy/training.py",
        "search/text/corpus.py",
        "search/proxy/quantize.py",
        "search/proxy/few_bits.py",
        "search/proxy/accelerator.py",
        "search/proxy/straight_through.py",
        "search/proxy/teacher.py",
        "search/proxy/k_quants.py",
        "search/proxy/rounding.py",
        "search/proxy/scaling.py",
        "search/proxy/stepper.py",
        "search/proxy/checkpoint.py",
        "search/proxy/fused/",
        "search/run/executors.py",
        "search/run/forecast.py",
    ),
    "optuna": (
        "search/store/study.py",
        "search/space/space.py",
        "search/space/sampling.py",
        "search/run/loop.py",
    ),
    "sqlalchemy": ("search/store/study.py",),
    "pandas": ("reports/",),
    "plotly": ("reports/",),
    "streamlit": ("explorer/", "app.py"),
    "typer": ("commands/", "cli.py"),
    "rich": ("commands/", "reports/"),
    "numpy": ("search/", "reports/", "sizer/grid/"),
    "datasets": ("search/text/text_tables.py",),
    "pyarrow": ("search/text/text_tables.py",),
    "tokenizers": ("search/text/tokenizer.py",),
}


def _modules() -> list[Path]:
    rooms = [ROOT / room for room in ALLOWED if (ROOT / room).is_dir()]
    return [ROOT / "cli.py", ROOT / "app.py", *(p for room in rooms for p in sorted(room.rglob("*.py")))]


def _imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield str(node.module).split(".")[0]


MODULES = _modules()
IDS = [str(m.relative_to(ROOT)) for m in MODULES]


@pytest.mark.parametrize("module", MODULES, ids=IDS)
def test_no_arrow_goes_back(module: Path) -> None:
    room = module.relative_to(ROOT).parts[0].removesuffix(".py")
    ours = {name for name in _imports(module) if name in ALLOWED}
    assert ours <= ALLOWED[room], f"{module.name} imports {sorted(ours - ALLOWED[room])}"


@pytest.mark.parametrize("module", MODULES, ids=IDS)
def test_libraries_stay_at_home(module: Path) -> None:
    path = module.relative_to(ROOT).as_posix()
    for library in set(_imports(module)) & set(HOMES):
        assert path.startswith(HOMES[library]), f"{path} imports {library}"


@pytest.mark.parametrize("module", MODULES, ids=IDS)
def test_the_calculator_is_standard_library_only(module: Path) -> None:
    if module.relative_to(ROOT).parts[0] == "sizer":
        known = {"sizer", "numpy"} if "grid" in module.relative_to(ROOT).parts else {"sizer"}
        outside = {n for n in _imports(module) if n not in sys.stdlib_module_names and n not in known}
        assert not outside, f"{module.name} imports {sorted(outside)}"


@pytest.mark.parametrize("module", MODULES, ids=IDS)
def test_every_module_says_what_it_is_and_stays_small(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert text.startswith('"""'), "the first line is not a docstring"
    assert len(text.splitlines()) <= 400


HEAVY = ("torch", "optuna", "pandas", "plotly", "streamlit", "numpy", "sqlalchemy")


@pytest.mark.parametrize(
    "code",
    [
        "import sizer",
        "import sizer.estimate, sizer.readers, sizer.solve",
        "import search.store.results, search.law.pareto, search.space.config",
        "import reports.estimate_text, reports.documents",
        "import cli; cli.main(['--help'])",
        "import cli; cli.main(['search', 'run', '--help'])",
        "import cli; cli.main(['estimate', '--params', '125M', '--device', 'raspberry-pi-5'])",
        "import cli; cli.main(['estimate', '--params', '125M', '--json'])",
        "import cli; cli.main(['devices'])",
    ],
)
def test_nothing_heavy_is_loaded_to_start(code: str) -> None:
    check = f"{code}\nimport sys\nprint('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )
    assert done.stdout.strip().endswith("loaded: []"), done.stdout[-200:]
