"""Pictures of masks: palette, overlays, film strips, palette PNGs, videos. One colour an object in all of them."""
