"""Fits device profiles to measured speeds; `python -m sizer.measure.fit` rewrites data/profiles.toml."""
