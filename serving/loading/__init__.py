"""From a version's folder to a slot that serves: tried, loaded, proven, warmed."""
