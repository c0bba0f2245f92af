"""What scores mean: the quality law, what it proposes, and which models no other beats."""
