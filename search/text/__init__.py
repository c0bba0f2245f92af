"""What it is trained on: files of text, tokens, training batches and validation chunks."""
