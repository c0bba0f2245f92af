"""Architectures of a wanted size: near a parameter count, or within a budget."""
