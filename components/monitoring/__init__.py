"""What serving sees and how well its scores hold, against what the model learned from."""
