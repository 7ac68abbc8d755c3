"""The run's report: one HTML file that says what ran, how it went, and what it was worth."""
