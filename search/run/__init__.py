"""How a search goes: what is trained next, by whom, for how long, and how to watch and stop it."""
