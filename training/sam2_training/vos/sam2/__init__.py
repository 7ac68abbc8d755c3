"""Everything that knows sam2's insides."""
