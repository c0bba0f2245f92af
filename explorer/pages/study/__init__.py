"""The page `study` of the explorer."""
