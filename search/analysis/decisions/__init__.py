"""Decisions of a study: which choices its runs and the law settle, at what probability, at what cost."""
