"""Answers to calls: whatever is not plain inference, one file a protocol."""
