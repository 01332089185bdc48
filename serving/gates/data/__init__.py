"""Evaluation sets: read a piece at a time, as inputs of a model and what is right."""
