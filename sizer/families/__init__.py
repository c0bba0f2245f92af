"""Readers of config.json by kind of model family; each is loaded when a config of its kind is read."""
