"""The report of a video object segmentation run: its sections and pictures."""
