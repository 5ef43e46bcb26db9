"""Scoring online: an emulator of TensorFlow Serving's API for local use, and the client of the real one."""
