"""Configuration of a search: settings, presets, and the axes of the space."""
