"""Kinds of bad version, published while users are served by a good one."""
