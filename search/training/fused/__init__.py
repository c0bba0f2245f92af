"""A decoder's training step as a fixed list of kernel calls, without autograd."""
