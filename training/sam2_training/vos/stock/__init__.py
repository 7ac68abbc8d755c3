"""Training recipes of the sam2 repository, read as values."""
