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

# Package: its rooms, lowest first; a room may import itself and the rooms before it. A module that lies in no
# room stands at the place of its own name.
STAIRCASES = {
    "search": (
        "stats",
        "config",
        "store",
        "text",
        "training",
        "schedule",
        "quality",
        "space",
        "analysis",
        "run",
        "export",
        "reproductions",
    ),
    "explorer": ("state", "widgets", "pages", "served"),
    "reports": ("palette", "deployment", "text", "tables", "figures", "export", "html"),
}

# Library: the only files that may import it, as path prefixes.
HOMES = {
    "torch": (
        "search/training/",
        "search/text/corpus.py",
        "search/text/corpus_file.py",
        "search/run/executors.py",
        "search/run/cluster_worker.py",
        "search/run/forecast.py",
        "search/export/",
    ),
    "optuna": (
        "search/store/objective_values.py",
        "search/store/study.py",
        "search/store/storage.py",
        "search/store/stored_records.py",
        "search/store/trial_rows.py",
        "search/space/sampling.py",
        "search/run/loop.py",
        "search/run/history.py",
    ),
    "sqlalchemy": ("search/store/storage.py", "search/store/server_lease.py", "search/store/trial_rows.py"),
    "pandas": ("reports/",),
    "plotly": ("reports/",),
    "jinja2": ("reports/html/render.py",),
    "streamlit": ("explorer/", "app.py"),
    "starlette": ("app.py",),
    "typer": ("commands/", "cli.py"),
    "rich": ("commands/", "reports/"),
    "numpy": ("search/", "reports/", "sizer/grid/", "sizer/calibration/", "sizer/quality/"),
    "scipy": ("search/space/sampling.py", "sizer/calibration/", "sizer/quality/"),
    "datasets": ("search/text/text_tables.py",),
    "pyarrow": ("search/text/text_tables.py",),
    "distributed": ("search/run/cluster.py", "search/run/cluster_worker.py"),
    "dask_jobqueue": ("search/run/cluster.py",),
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


# Rooms of the calculator that may import more than the standard library.
NUMERIC_ROOMS = {"grid": {"numpy"}, "calibration": {"numpy", "scipy"}, "quality": {"numpy", "scipy"}}


@pytest.mark.parametrize("module", MODULES, ids=IDS)
def test_the_calculator_is_standard_library_only(module: Path) -> None:
    if module.relative_to(ROOT).parts[0] == "sizer":
        room = module.relative_to(ROOT).parts[1]
        known = {"sizer"} | NUMERIC_ROOMS.get(room, set())
        outside = {n for n in _imports(module) if n not in sys.stdlib_module_names and n not in known}
        assert not outside, f"{module.name} imports {sorted(outside)}"


@pytest.mark.parametrize("module", MODULES, ids=IDS)
def test_every_module_says_what_it_is_and_stays_small(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert text.startswith('"""'), "the first line is not a docstring"
    assert len(text.splitlines()) <= 400


def _room(name: str) -> tuple[str, str]:
    package, _, rest = name.partition(".")
    return package, rest.split(".")[0]


def _imported_modules(module: Path) -> Iterator[str]:
    """Every module of ours that a file imports, also under TYPE_CHECKING and inside functions."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in NAMES)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from (name for name in (whole, str(node.module)) if name in NAMES)


def _name(module: Path) -> str:
    return ".".join(module.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {_name(module): module for module in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=IDS)
def test_no_arrow_goes_up_a_staircase(module: Path) -> None:
    package, room = _room(_name(module))
    stairs = STAIRCASES.get(package, ())
    if room not in stairs:
        assert not stairs or _name(module) == package, f"{_name(module)} is in none of the rooms {stairs}"
        return
    allowed = stairs[: stairs.index(room) + 1]
    for name in _imported_modules(module):
        if name.startswith(f"{package}."):
            assert _room(name)[1] in allowed, f"{_name(module)} imports {name}"


PAGES = [name for name in NAMES if name.startswith("explorer.pages.")]


@pytest.mark.parametrize("name", PAGES)
def test_no_page_imports_another_page(name: str) -> None:
    page = name.split(".")[2]
    for other in _imported_modules(NAMES[name]):
        if other.startswith("explorer.pages."):
            assert other.split(".")[2] == page, f"{name} imports {other}"


def _circles() -> list[list[str]]:
    """Groups of modules that import each other: Tarjan's strongly connected components of two or more."""
    arrows = {name: sorted(set(_imported_modules(m)) - {name}) for name, m in NAMES.items()}
    # A package's own docstring module is no arrow of its modules.
    arrows = {
        name: [to for to in found if not name.startswith(f"{to}.") or NAMES[to].name != "__init__.py"]
        for name, found in arrows.items()
    }
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for to in arrows[name]:
            if to not in index:
                visit(to)
                low[name] = min(low[name], low[to])
            elif to in stack:
                low[name] = min(low[name], index[to])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            found.extend([sorted(group)] if len(group) > 1 else [])

    for name in arrows:
        if name not in index:
            visit(name)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    circles = _circles()
    print(f"import circles: {len(circles)}, modules in them: {sum(map(len, circles))}")
    assert not circles, circles


HEAVY = ("torch", "optuna", "pandas", "plotly", "streamlit", "numpy", "scipy", "sqlalchemy")


@pytest.mark.parametrize(
    "code",
    [
        "import sizer",
        "import sizer.model_estimate, sizer.readers, sizer.shapes.near_count",
        "import search.store.results, search.analysis.frontier, search.config.config",
        "import reports.text.estimate, reports.export.documents",
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
