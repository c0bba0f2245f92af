"""What is asked: the search's settings, the space of models, and which point of it comes next."""
