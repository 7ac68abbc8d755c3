"""Clips from disk or from a generator: readers, index, sampler, transforms, collation."""
