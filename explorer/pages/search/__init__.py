"""The page `search` of the explorer."""
