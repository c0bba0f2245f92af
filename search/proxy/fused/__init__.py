"""A decoder's training step as a fixed list of matrix products and compiled passes, without autograd."""
