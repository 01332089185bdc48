"""Clients that the end-to-end tests use, well-behaved and otherwise. Loopback only."""
