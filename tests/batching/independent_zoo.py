"""Small models whose rows are independent: each is to be called proven."""

from __future__ import annotations

from . import independent_domains, independent_inner, independent_layers, independent_shapes

ZOOS = (independent_layers, independent_shapes, independent_inner, independent_domains)
INDEPENDENT = [entry for one in ZOOS for entry in one.zoo.entries]
