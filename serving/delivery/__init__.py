"""Rollouts carried out: reads both versions' figures, asks the judge, sets the route's weights."""
