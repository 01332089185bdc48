"""How versions come, serve and go."""
