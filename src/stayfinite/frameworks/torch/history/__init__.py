"""What is remembered of the steps before the one that is running."""
