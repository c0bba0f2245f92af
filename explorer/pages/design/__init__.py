"""The page `design` of the explorer."""
