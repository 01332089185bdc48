"""What is: what lies on disk, the slots, what is done to them, their history, and what shows."""
