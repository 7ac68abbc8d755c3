"""The report of a run: what it shows of video object segmentation."""
