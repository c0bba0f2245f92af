"""How good a model will be: loss over shape, tokens and bits, accuracy over loss, and their ranges."""
