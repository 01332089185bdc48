"""What is written back to MLflow's registry: which version was promoted, and what gates say."""
