"""Export: weights in a file that stock sam2 can load."""
