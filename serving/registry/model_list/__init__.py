"""TensorFlow Serving's model config list: which models are served, by name and base path."""
