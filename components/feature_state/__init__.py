"""What serving has to know of users, items and days to score a click with the features of training."""
