"""The run and its services; what is trained they know only through task.py."""
