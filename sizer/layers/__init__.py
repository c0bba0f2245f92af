"""Layers other than attention and feed-forward blocks: each kind's shape, checks, tensors and state."""
