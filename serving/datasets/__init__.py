"""Files of examples, a piece at a time: columns of Parquet, CSV, JSON lines or arrays."""
