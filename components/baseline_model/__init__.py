"""The model that the candidate has to hold its own against."""
