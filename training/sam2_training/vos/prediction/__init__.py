"""Prediction: masks of prompted objects through a video of the user's."""
