"""Floor 0: foundations that import nothing else of the project."""
