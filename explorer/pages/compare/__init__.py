"""The page `compare` of the explorer."""
