"""Publishes a blessed model as the next version, in one step."""
