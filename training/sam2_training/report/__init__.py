"""The run's report: one HTML file made of sections that the task supplies. Imports core only."""
