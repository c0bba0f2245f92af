"""The page `evidence` of the explorer."""
