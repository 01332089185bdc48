"""A long run under steady load while versions come, break, go back and go."""
