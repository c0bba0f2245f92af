"""What is kept: studies, their records, and who holds them."""
