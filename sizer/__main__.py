"""`python -m sizer`: the command line."""

from __future__ import annotations

from importlib import import_module

if __name__ == "__main__":
    import_module("cli").run()
