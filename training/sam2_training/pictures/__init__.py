"""Pictures of masks: palette, overlays, film strips, mask PNGs, videos; one color per object. Imports core only."""
