"""The page `start` of the explorer."""
