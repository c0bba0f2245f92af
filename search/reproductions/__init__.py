"""Published comparisons, repeated with small models."""
