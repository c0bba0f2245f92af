"""Results of a study: ranking, frontier, extrapolation, importance, reliability."""
