"""The page `users` of the explorer."""
