"""Raw logs and catalog -> sessions: checked, de-duplicated, split by time, users never split across files."""
