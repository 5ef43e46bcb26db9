"""Serves the candidate as production would, before it may be pushed."""
