"""What is trained: the decoder, its training step, and its weights rounded as they are deployed."""
