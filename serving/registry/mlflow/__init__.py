"""MLflow's model registry as a source."""
