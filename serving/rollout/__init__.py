"""Which version answers whom, and what has to stay loaded for that."""
