"""The page `size` of the explorer."""
