"""Floors 2 and 3: the run and the services it uses; they know nothing of video or masks."""
