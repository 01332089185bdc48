"""Observers: they turn the facts that rooms state into logs and numbers."""
