"""Prediction: masks of prompted objects through a user's video."""
