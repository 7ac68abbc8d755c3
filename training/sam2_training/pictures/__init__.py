"""Pictures of masks: palette, overlays, film strips, palette PNGs, videos. One color an object in all of them."""
