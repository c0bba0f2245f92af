"""The search; empty on purpose, so that reading results loads neither torch nor optuna."""
