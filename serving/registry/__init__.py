"""Where versions come from: sources state the whole set each time."""
