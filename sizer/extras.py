"""Optional packages: the extra of the installation that brings each."""

from __future__ import annotations

from sizer.errors import SizerError

# Package, by the name under which it is imported: the extra.
_EXTRA = {
    **dict.fromkeys(
        ("filelock", "numpy", "optuna", "pandas", "plotly", "scipy", "sqlalchemy", "torch"), "search"
    ),
    "streamlit": "app",
}


class MissingExtra(SizerError):
    """A package that the calculator alone does not need, and that is not installed."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """Return the error that names the extra with the module that is not installed; None for any other."""
    package = (error.name or "").partition(".")[0]
    extra = _EXTRA.get(package)
    if extra is None:
        return None
    return MissingExtra(
        f"{package} is not installed: this needs the extra {extra!r}; pip install '.[{extra}]' in a clone "
        f"of sizer, or pip install 'sizer[{extra}]'"
    )
