"""Videos with masks, whatever the format."""
