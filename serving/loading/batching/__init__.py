"""Whether rows may share a batch, proven from the model's graph."""
