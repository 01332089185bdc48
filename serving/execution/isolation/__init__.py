"""Models in child processes: spawned, spoken to, watched, started again."""
