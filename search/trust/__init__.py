"""How far an order can be believed: rungs, survivors, ties, and agreement of short with long runs."""
