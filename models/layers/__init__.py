"""Keras layers of the models; each cites its paper and serialises."""
