"""Which models are trained next and for how long: rungs, successive halving, finalists."""
