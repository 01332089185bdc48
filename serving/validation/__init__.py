"""Data held against a schema and against other data: TFX's Data Validation, over its messages."""
