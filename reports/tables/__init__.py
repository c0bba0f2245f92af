"""Results as pandas tables."""
