"""What is found out about a version before it may serve, and kept for the next start."""
