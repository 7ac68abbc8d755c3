"""Evaluation of a network on whole videos: prompts, tracking, scores."""
