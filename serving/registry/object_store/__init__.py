"""Object stores, and whatever else is reached by a URL, as sources."""
