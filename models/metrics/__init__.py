"""Metrics three times over one definition: NumPy sums, TFMA combiners, Keras metrics."""
