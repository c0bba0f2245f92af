"""Texts that models are trained on: files, tokens, training batches and validation chunks."""
