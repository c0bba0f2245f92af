"""How weights are stored: block types and the mixes that assign one to each tensor."""
