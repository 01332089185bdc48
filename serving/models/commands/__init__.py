"""What operators may tell the manager, the line they wait in, and how far each has come."""
