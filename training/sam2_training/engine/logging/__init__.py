"""The run's log and the places it goes to."""
