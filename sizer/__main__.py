"""`python -m sizer`: the command line, also where another project has a `cli.py` or a `search/`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    # -m looks in the working directory first, where another project's modules may have the names of ours
    if not sys.flags.safe_path:
        del sys.path[0]
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:
        sys.path.insert(0, root)
    import_module("cli").run()
