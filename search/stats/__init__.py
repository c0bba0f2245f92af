"""Leaf mathematics without domain types: Pareto fronts, hypervolume, rank correlation, ridge regression."""
