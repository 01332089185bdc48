"""What a new version has to pass before it takes traffic."""
