"""What TFX's Evaluator is asked, and what its answer means in words."""
