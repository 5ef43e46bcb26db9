"""Scores of more rows than one server should be asked for."""
