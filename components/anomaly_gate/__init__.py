"""Stops a run whose click examples cannot be trusted."""
